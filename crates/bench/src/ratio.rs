//! This file answers: how does the target compare with the other, and how sure is that?

use serde::Serialize;

/// The target's figure over the other's: above 1 the target is better. Each round gives one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// What is compared: `throughput`, or in an open loop, where that is given, `median latency`.
    pub of: &'static str,
    /// The middle of all rounds.
    pub median: f64,
    /// Of the worst round.
    pub lowest: f64,
    /// Of the best.
    pub highest: f64,
    /// How many rounds both had something to show in.
    pub rounds: usize,
}

impl Ratio {
    /// Of each round's ratio; none without a round.
    pub(crate) fn new(of: &'static str, mut ratios: Vec<f64>) -> Option<Ratio> {
        ratios.retain(|ratio| ratio.is_finite());
        ratios.sort_by(f64::total_cmp);
        let (lowest, highest) = (*ratios.first()?, *ratios.last()?);
        let middle = ratios.len() / 2;
        let median = match ratios.len() % 2 {
            1 => ratios[middle],
            _ => f64::midpoint(ratios[middle - 1], ratios[middle]),
        };
        Some(Ratio {
            of,
            median,
            lowest,
            highest,
            rounds: ratios.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: one lucky round would decide a comparison.
    #[test]
    fn the_middle_round_decides() {
        let of = |ratios: &[f64]| {
            let ratio = Ratio::new("throughput", ratios.to_vec())?;
            Some((ratio.lowest, ratio.median, ratio.highest, ratio.rounds))
        };
        assert_eq!(of(&[9.0, 1.0, 1.5]), Some((1.0, 1.5, 9.0, 3)));
        assert_eq!(of(&[2.0, 1.0]), Some((1.0, 1.5, 2.0, 2)));
        assert_eq!(
            of(&[f64::INFINITY, f64::NAN, 2.0]),
            Some((2.0, 2.0, 2.0, 1))
        );
        assert_eq!(of(&[]), None);
    }
}
