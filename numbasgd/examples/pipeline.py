"""A pipeline of scikit-learn, whose settings a grid search chooses by cross-validation.

Run it with ``python -m numbasgd.examples.pipeline``; it needs scikit-learn.
"""

import sys

import numbasgd


def main() -> None:
    """Choose loss, penalty and columns for the breast cancer data, and test the choice on rows held back."""
    try:
        from sklearn.datasets import load_breast_cancer
        from sklearn.feature_selection import SelectKBest
        from sklearn.model_selection import GridSearchCV, train_test_split
        from sklearn.pipeline import Pipeline
    except ImportError:
        sys.exit('pipeline: scikit-learn is missing. pip install "numbasgd[estimators]"')

    X, y = load_breast_cancer(return_X_y=True)  # 569 rows, 30 columns in units from 1e-3 to 1e3
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)

    # The columns need no scaling before: the estimator, like ``train``, standardizes them by itself.
    steps = [("select", SelectKBest()), ("sgd", numbasgd.MinibatchSGDClassifier(random_state=0))]
    grid = {
        "select__k": [10, 20, "all"],
        "sgd__loss": ["logistic", "hinge"],
        "sgd__l2": [1e-3, 1e-2, 1e-1],
    }
    search = GridSearchCV(Pipeline(steps), grid, cv=5).fit(X, y)

    for name, value in search.best_params_.items():
        print(f"{name:<10} {value}")
    print(
        f"accuracy   {search.best_score_:.1%} in cross-validation, {search.score(X_test, y_test):.1%} held back"
    )
    print("\n" + search.best_estimator_["sgd"].fit_.summary(weights=5))


if __name__ == "__main__":
    main()
