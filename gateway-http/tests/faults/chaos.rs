//! What dies, and when.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::system::System;

/// Kills runners and stores one after the other for so long, and has PostgreSQL crash in the middle. Afterwards
/// everything is alive.
pub(crate) async fn reign(system: &System, duration: Duration) {
    let began = Instant::now();
    let mut random = fastrand::Rng::with_seed(7);
    let mut has_crashed = false;
    let mut killed = 0;
    while began.elapsed() < duration {
        sleep(Duration::from_millis(random.u64(500..1500))).await;
        let victim = random.choice(system.mortals()).expect("there are runners and stores");
        victim.kill().await;
        killed += 1;
        if !has_crashed && began.elapsed() > duration / 2 {
            system.crash_postgres().await;
            has_crashed = true;
        }
        sleep(Duration::from_millis(random.u64(200..1500))).await;
        victim.start();
    }
    assert!(has_crashed, "PostgreSQL was to crash");
    eprintln!("killed {killed} runners and stores, and PostgreSQL once");
    system.ready().await;
}
