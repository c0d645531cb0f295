//! Measures what is compared in turns.

/// Gives each side its turn, `rounds` times, and once before as round 0, which warms up and is not to be counted.
///
/// Who goes first changes from round to round, so that a drift of the machine is on nobody's side.
pub(crate) async fn take_turns<S>(rounds: usize, sides: &mut [S], mut turn: impl AsyncFnMut(usize, &mut S)) {
    for round in 0..=rounds {
        let (last, first) = sides.split_at_mut(round % sides.len());
        for side in first.iter_mut().chain(last) {
            turn(round, side).await;
        }
    }
}
