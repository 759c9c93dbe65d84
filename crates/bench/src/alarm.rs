//! This file answers: who wakes a worker at the moment an operation is due?
//!
//! The kernel's timer, to a few microseconds: tokio's own counts in milliseconds, which would show in every latency of an
//! open loop.

use std::io;
use std::time::Instant;

#[cfg(target_os = "linux")]
mod kernel {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

    use nix::errno::Errno;
    use nix::sys::time::TimeSpec;
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
    use tokio::io::unix::AsyncFd;

    use super::{Instant, io};

    /// Wakes one worker.
    #[derive(Debug)]
    pub(crate) struct Alarm(AsyncFd<Timer>);

    /// What tokio waits for wants to be called a descriptor in both ways.
    #[derive(Debug)]
    struct Timer(TimerFd);

    impl AsFd for Timer {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl AsRawFd for Timer {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    impl Alarm {
        // What takes its place is unsafe, for descriptors that change; this one is owned and stays.
        #[expect(deprecated)]
        pub(crate) fn new() -> io::Result<Alarm> {
            let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
            Ok(Alarm(AsyncFd::new(Timer(timer))?))
        }

        /// Returns at `due`, at once if that is past.
        pub(crate) async fn wait(&self, due: Instant) -> io::Result<()> {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let once = Expiration::OneShot(TimeSpec::from_duration(left));
            self.0.get_ref().0.set(once, TimerSetTimeFlags::empty())?;
            loop {
                let mut ready = self.0.readable().await?;
                ready.clear_ready();
                match self.0.get_ref().0.wait() {
                    Ok(()) => return Ok(()),
                    Err(Errno::EAGAIN) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::{Instant, io};

    /// Wakes one worker, to the millisecond.
    #[derive(Debug)]
    pub(crate) struct Alarm;

    impl Alarm {
        pub(crate) fn new() -> io::Result<Alarm> {
            Ok(Alarm)
        }

        /// Returns at `due`, at once if that is past.
        pub(crate) async fn wait(&self, due: Instant) -> io::Result<()> {
            tokio::time::sleep_until(due.into()).await;
            Ok(())
        }
    }
}

pub(crate) use kernel::Alarm;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Lost without it: an open loop begins operations before they are due, or stands still for ever.
    #[tokio::test]
    async fn it_rings_when_due() {
        let alarm = Alarm::new().unwrap();
        for micros in [0, 300, 50, 2000] {
            let due = Instant::now() + Duration::from_micros(micros);
            alarm.wait(due).await.unwrap();
            assert!(Instant::now() >= due);
        }
    }
}
