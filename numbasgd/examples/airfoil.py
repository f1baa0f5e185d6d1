"""The chapter's data at several batch sizes, then with nothing chosen by hand.

Run it with ``python -m numbasgd.examples.airfoil``.
"""

import numbasgd


def main() -> None:
    """Print a line for each batch size, and the summary of a run that chooses for itself."""
    try:
        X, y = numbasgd.load_airfoil()
        print("NASA airfoil self-noise: sound pressure from 5 columns, standardized")
    except numbasgd.DataError:  # there is no file, and no network
        X, y = numbasgd.airfoil_twin()
        print("The embedded twin of the airfoil data: its moments, other rows")

    print("\nTen epochs at a learning rate that is chosen for each batch size:")
    print("batch size    rate      loss   us an epoch")
    for batch_size in (1, 10, 100, len(X)):
        fit = numbasgd.train(X, y, batch_size=batch_size, epochs=10, seed=0)
        rate, loss = fit.settings["lr"], fit.loss[-1]
        print(f"{batch_size:10}  {rate:6.4f}  {loss:8.5f}  {1e6 * fit.seconds_per_epoch:12.2f}")

    print("\nNothing chosen, until the loss has converged:")
    print(numbasgd.train(X, y, seed=0).summary())


if __name__ == "__main__":
    main()
