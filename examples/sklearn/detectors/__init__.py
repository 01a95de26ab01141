"""The detectors that are compared, by name. Each scores samples: the higher, the more anomalous."""

from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor


def isolation_forest(config, train):
    model = IsolationForest(n_estimators=config["trees"], random_state=config["seed"]).fit(train)
    return lambda samples: -model.score_samples(samples)


def local_outlier_factor(config, train):
    model = LocalOutlierFactor(n_neighbors=config["neighbours"], novelty=True).fit(train)
    return lambda samples: -model.score_samples(samples)


DETECTORS = {"isolation_forest": isolation_forest, "lof": local_outlier_factor}
