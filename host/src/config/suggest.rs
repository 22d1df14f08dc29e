//! "Did you mean": the nearest of some known names.

/// The candidate nearest to `wrong`, if it is near enough to be a slip of the hand.
pub(super) fn nearest<'a>(
    wrong: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let slips_max = (wrong.chars().count() / 4).max(2);
    candidates
        .map(|candidate| {
            (strsim::damerau_levenshtein(&wrong, &candidate.to_lowercase()), candidate)
        })
        .filter(|(slips, _)| *slips <= slips_max)
        .min()
        .map(|(_, candidate)| candidate)
}
