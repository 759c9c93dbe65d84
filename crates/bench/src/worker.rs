//! This file answers: how does one worker spend a round?
//!
//! It takes as many turns as it sends together, asks, waits for each answer in its order, and notes what came of it.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::select;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::alarm::Alarm;
use crate::driver::{Answer, Call, Connection, Failed};
use crate::keys::Key;
use crate::mix::Operation;
use crate::pace::{Pace, Turn};
use crate::plan::Plan;
use crate::report::{Reporter, Unheard};
use crate::script::{Action, Script};
use crate::values::Pool;

/// How often a worker looks up from what it waits for: to tell what it has, and to end what takes too long.
const LOOK_UP: Duration = Duration::from_millis(250);

/// One worker of one round.
pub(crate) struct Worker {
    pace: Arc<Pace>,
    script: Script,
    pool: Pool,
    connection: Connection,
    reporter: Reporter,
    look_up: Interval,
    /// Only where operations are due by the clock.
    alarm: Option<Alarm>,
    timeout: Duration,
    together: usize,
    ends_at_error: bool,
    batch: Vec<Task>,
    /// What is asked now, and for which of the batch.
    calls: Vec<Call>,
    asked: Vec<usize>,
}

/// An operation that is under way.
struct Task {
    turn: Turn,
    action: Action,
    is_ended: bool,
}

/// Operations are one request, or a read and then a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    First,
    WriteBack,
}

impl Worker {
    /// A worker that begins with what `script` says.
    pub(crate) fn new(
        plan: &Plan,
        pace: Arc<Pace>,
        script: Script,
        pool: Pool,
        connection: Connection,
        reporter: Reporter,
    ) -> io::Result<Worker> {
        // In step with the seconds of the record, so that a second is told when it is over.
        let mut look_up = interval_at(pace.record_from().into(), LOOK_UP);
        look_up.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let alarm = pace.is_open().then(Alarm::new).transpose()?;
        Ok(Worker {
            pace,
            script,
            pool,
            connection,
            reporter,
            look_up,
            alarm,
            timeout: plan.timeout,
            together: plan.pipeline,
            ends_at_error: plan.shutdown_on_error,
            batch: Vec::new(),
            calls: Vec::new(),
            asked: Vec::new(),
        })
    }

    /// Until the round is over.
    pub(crate) async fn work(mut self) -> io::Result<()> {
        let worked = self.take_turns().await;
        // When nobody listens, the ledger says why.
        let _ = self.reporter.tell(Instant::now(), true).await;
        worked
    }

    async fn take_turns(&mut self) -> io::Result<()> {
        while let Some(turn) = self.pace.next(Instant::now()) {
            if !self.is_due(turn).await? {
                break;
            }
            self.begin_together_with(turn);
            if self.carry_out().await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Waits for it; false when the round is over before.
    async fn is_due(&mut self, turn: Turn) -> io::Result<bool> {
        let Some(alarm) = &self.alarm else {
            return Ok(true);
        };
        let mut due = pin!(alarm.wait(turn.from));
        loop {
            select! {
                biased;
                rung = &mut due => {
                    rung?;
                    return Ok(!self.pace.is_over(Instant::now()));
                }
                _ = self.look_up.tick() => {
                    let now = Instant::now();
                    let told = self.reporter.tell(now, false).await;
                    if told.is_err() || self.pace.is_over(now) {
                        return Ok(false);
                    }
                }
            }
        }
    }

    fn begin_together_with(&mut self, first: Turn) {
        self.batch.clear();
        let now = Instant::now();
        let mut next = Some(first);
        while let Some(turn) = next {
            self.batch.push(Task {
                turn,
                action: self.script.next(),
                is_ended: false,
            });
            let is_more = self.batch.len() < self.together;
            next = is_more.then(|| self.pace.another(now)).flatten();
        }
        let recorded = self.batch.iter().filter(|task| task.turn.is_recorded);
        self.pace.begin(recorded.count() as u64);
    }

    async fn carry_out(&mut self) -> Result<(), Unheard> {
        self.ask(Step::First).await?;
        if self.batch.iter().any(|task| !task.is_ended) {
            self.ask(Step::WriteBack).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, step: Step) -> Result<(), Unheard> {
        self.calls.clear();
        self.asked.clear();
        for (i, task) in self.batch.iter().enumerate() {
            if !task.is_ended {
                self.asked.push(i);
                self.calls.push(call(&task.action, step, &self.pool));
            }
        }
        let until = Instant::now() + self.timeout;
        let sending = self.connection.send(&self.calls);
        let sent = watched(&mut self.look_up, &mut self.reporter, until, sending).await?;
        let mut broken = sent.err();
        for place in 0..self.asked.len() {
            let result = match &broken {
                Some(failed) => Err(failed.clone()),
                None => {
                    let answer = self.connection.answer(&self.calls[place]);
                    watched(&mut self.look_up, &mut self.reporter, until, answer).await?
                }
            };
            if let Err(failed) = &result
                && failed.kind == TIMEOUT
                && broken.is_none()
            {
                self.connection.give_up();
                broken = Some(failed.clone());
            }
            self.answered(self.asked[place], step, result);
            if self.reporter.is_full() {
                self.reporter.tell(Instant::now(), false).await?;
            }
        }
        Ok(())
    }

    fn answered(&mut self, i: usize, step: Step, result: Result<Answer, Failed>) {
        let action = self.batch[i].action;
        if action.operation == Operation::Put {
            let held = action.value.filter(|_| result.is_ok());
            self.script.put_ended(action.number, held);
        }
        let ended = match (action.operation, result) {
            (_, Err(failed)) => Err(failed),
            (Operation::ReadModifyWrite, Ok(Answer::Got(Some(_)))) if step == Step::First => return,
            (Operation::Read | Operation::ReadModifyWrite, Ok(Answer::Got(None))) => Err(
                Failed::new("not_found", "a key that was loaded is not there"),
            ),
            (Operation::GetOwnPuts, Ok(Answer::Got(got))) => {
                let meant = self.script.held(action.number);
                let meant = meant.map(|piece| self.pool.value(piece));
                match (meant, got) {
                    (Some(meant), Some(got)) if meant != got => Err(Failed::new(
                        "wrong_value",
                        "a key holds another value than the worker put there last",
                    )),
                    (Some(_), None) => Err(Failed::new(
                        "not_found",
                        "a key that the worker put is not there",
                    )),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        };
        self.end(i, ended);
    }

    fn end(&mut self, i: usize, result: Result<(), Failed>) {
        let task = &mut self.batch[i];
        task.is_ended = true;
        let now = Instant::now();
        let ends_all = self.ends_at_error && result.is_err();
        if task.turn.is_recorded || ends_all {
            self.reporter
                .note(task.action.operation, task.turn.from, now, result);
        }
        if ends_all {
            self.pace.stop(now);
        }
    }
}

const TIMEOUT: &str = "timeout";

/// Waits for it until about `until`, and tells meanwhile what there is to tell.
async fn watched<T>(
    look_up: &mut Interval,
    reporter: &mut Reporter,
    until: Instant,
    what: impl Future<Output = Result<T, Failed>>,
) -> Result<Result<T, Failed>, Unheard> {
    let mut what = pin!(what);
    loop {
        select! {
            biased;
            result = &mut what => return Ok(result),
            _ = look_up.tick() => {
                let now = Instant::now();
                reporter.tell(now, false).await?;
                if now > until {
                    return Ok(Err(Failed::new(TIMEOUT, "no answer in time")));
                }
            }
        }
    }
}

/// The request that a step of it is.
fn call(action: &Action, step: Step, pool: &Pool) -> Call {
    let is_read = action.operation == Operation::ReadModifyWrite && step == Step::First;
    let value = action.value.filter(|_| !is_read);
    Call {
        key: Key::of(action.number),
        put: value.map(|piece| pool.value(piece)),
    }
}
