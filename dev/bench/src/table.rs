//! Medians over rounds, their spread, and ratios.

/// The figures of all rounds, each in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rounds(Vec<f64>);

impl Rounds {
    pub(crate) fn note(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => sorted[count / 2],
            count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
        }
    }

    /// The median, and the least and the most.
    pub(crate) fn text(&self) -> String {
        let sorted = self.sorted();
        let (Some(least), Some(max)) = (sorted.first(), sorted.last()) else {
            return "-".to_owned();
        };
        format!("{} ({} to {})", short(self.median()), short(*least), short(*max))
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// To three digits or the unit.
fn short(figure: f64) -> String {
    match figure {
        figure if figure >= 100_000.0 => format!("{:.0}k", figure / 1000.0),
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_printed_with_its_spread() {
        let mut rounds = Rounds::default();
        [3.0, 1.0, 200.4].into_iter().for_each(|figure| rounds.note(figure));
        assert_eq!(rounds.text(), "3.00 (1.00 to 200)");
        rounds.note(5.0);
        assert_eq!(rounds.median(), 4.0);
        assert_eq!(Rounds::default().text(), "-");
    }
}
