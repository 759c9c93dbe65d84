//! What the source of a move says of a write that its own disk refuses.

mod two;

use rkv_storage::DiskFault;
use rkv_wire::message::{Answer, Role};

use two::Two;

/// Lost without it: a write is said not to be applied, its target has stored it, and it turns up when the move is done.
#[test]
fn what_went_on_to_the_target_may_have_been_applied() {
    let mut two = Two::new();
    two.trial.faults("a").set(Some(DiskFault::Full));
    let alone = two.put(Role::Owner, 0, 10, Vec::new());
    assert!(
        matches!(
            alone,
            Answer::Failed {
                maybe_applied: false,
                ..
            }
        ),
        "{alone:?}"
    );
    two.trial.faults("a").set(None);

    two.trial.adopt(two.joined.clone());
    while !two.is_ready() {
        two.pass(50);
    }
    two.trial.faults("a").set(Some(DiskFault::Full));
    let forwarded = two.put(Role::Owner, 1, 10, Vec::new());
    two.pass(200);
    assert_eq!(two.totals("b").entries, 1, "the target has stored it");
    assert!(
        matches!(
            forwarded,
            Answer::Failed {
                maybe_applied: true,
                ..
            }
        ),
        "{forwarded:?}"
    );
    two.complete();
    assert_eq!(two.totals("b").entries, 1, "and it stays");
}
