//! The two ways to deploy the system, and the macro that runs a test in both.

use crate::LIMIT;

/// How the three services are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    /// `clawdbot`: all of them in one process, joined in memory.
    OneProcess,
    /// `gateway-http`, `agent-runner` and `session-store`, joined by gRPC.
    ThreeProcesses,
}

/// Makes two tests of each named function, `one_process::name` and `three_processes::name`.
///
/// A function that is missing from the list is dead code, which the compiler reports.
macro_rules! each_topology {
    ($($name:ident),+ $(,)?) => {
        mod one_process {
            $(
                #[tokio::test]
                async fn $name() {
                    $crate::harness::run(super::$name($crate::harness::Topology::OneProcess)).await;
                }
            )+
        }
        mod three_processes {
            $(
                #[tokio::test]
                async fn $name() {
                    $crate::harness::run(super::$name($crate::harness::Topology::ThreeProcesses)).await;
                }
            )+
        }
    };
}
pub(crate) use each_topology;

/// Runs a test, for as long as [`LIMIT`] at most.
///
/// The test is dropped while this thread panics, so a gateway that hangs still shows its log.
pub(crate) async fn run(test: impl Future<Output = ()>) {
    let test = std::pin::pin!(test);
    tokio::select! {
        () = test => {}
        () = tokio::time::sleep(LIMIT) => panic!("the test is not over after {} s", LIMIT.as_secs()),
    }
}
