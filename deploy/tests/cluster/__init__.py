"""The rendered chart as pods on one machine, and what is asked of them: `just test-cluster`."""
