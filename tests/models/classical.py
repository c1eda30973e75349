"""Writes the files in `classical/`: models of scikit-learn, XGBoost, LightGBM and CatBoost as their converters write them.

In an environment with scikit-learn, skl2onnx, onnxmltools, xgboost, lightgbm and catboost:
    python tests/models/classical.py
A name is MODEL.TABLE; the tables are scikit-learn's own, in float32, and the tests load the same ones.
"""

import tempfile
from pathlib import Path

import lightgbm
import numpy as np
import onnx.helper
import xgboost
from catboost import CatBoostClassifier
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as FloatTensor
from skl2onnx import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, NuSVC
from sklearn.tree import DecisionTreeClassifier

FOLDER = Path(__file__).parent / "classical"
TABLES = {"wine": load_wine, "cancer": load_breast_cancer, "iris": load_iris}


def several_trees(count):
    return [(f"tree{i}", DecisionTreeClassifier(max_depth=3, max_features=2, random_state=i)) for i in range(count)]


SKLEARN = {
    "logistic.iris": make_pipeline(StandardScaler(), LogisticRegression()),
    "logistic_two.cancer": make_pipeline(StandardScaler(), LogisticRegression()),
    "ridge.wine": make_pipeline(MinMaxScaler(), RidgeClassifier()),
    "one_against_rest.iris": make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)),
    "robust.cancer": make_pipeline(RobustScaler(), LogisticRegression()),
    "svc_linear.iris": make_pipeline(StandardScaler(), SVC(kernel="linear")),
    "svc_rbf.wine": make_pipeline(StandardScaler(), SVC(kernel="rbf")),
    "svc_rbf_probability.iris": make_pipeline(StandardScaler(), SVC(kernel="rbf", probability=True, random_state=0)),
    "svc_poly_probability.iris": make_pipeline(
        StandardScaler(), SVC(kernel="poly", degree=2, coef0=1, probability=True, random_state=0)
    ),
    "svc_sigmoid_two.cancer": make_pipeline(StandardScaler(), SVC(kernel="sigmoid")),
    "nu_svc_two_probability.cancer": make_pipeline(StandardScaler(), NuSVC(probability=True, random_state=0)),
    "normalised.iris": make_pipeline(Normalizer("l2"), MaxAbsScaler(), LogisticRegression()),
    "normalised_l1.iris": make_pipeline(Normalizer("l1"), LogisticRegression()),
    "normalised_max.iris": make_pipeline(Normalizer("max"), LogisticRegression()),
    "polynomial.iris": make_pipeline(StandardScaler(), PolynomialFeatures(2), LogisticRegression()),
    "columns.iris": make_pipeline(
        ColumnTransformer(
            [
                ("filled", make_pipeline(SimpleImputer(), StandardScaler()), [0, 2]),
                ("sign", Binarizer(threshold=3.0), [1]),
                ("kept", "passthrough", [3]),
            ]
        ),
        LogisticRegression(),
    ),
    "bins.iris": make_pipeline(
        ColumnTransformer(
            [
                ("bins", KBinsDiscretizer(3, encode="onehot-dense", quantile_method="averaged_inverted_cdf"), [0]),
            ],
            remainder="passthrough",
        ),
        LogisticRegression(),
    ),
    "tree.iris": DecisionTreeClassifier(max_depth=3, random_state=0),
    "forest.wine": RandomForestClassifier(10, max_depth=4, random_state=0),
    "forest_scaled.iris": make_pipeline(
        StandardScaler(), MinMaxScaler((0, 2)), RandomForestClassifier(6, max_depth=3, random_state=0)
    ),
    "forest_two.cancer": RandomForestClassifier(15, max_depth=4, random_state=0),
    "extra_trees.iris": ExtraTreesClassifier(8, max_depth=4, random_state=0),
    "gradient_boosting.iris": GradientBoostingClassifier(n_estimators=5, max_depth=2, random_state=0),
    "gradient_boosting_two.cancer": GradientBoostingClassifier(n_estimators=10, max_depth=2, random_state=0),
    "hist_boosting.wine": HistGradientBoostingClassifier(max_iter=6, max_leaf_nodes=6, random_state=0),
    "hist_boosting_two.cancer": HistGradientBoostingClassifier(max_iter=10, max_leaf_nodes=6, random_state=0),
    "ada_boost.iris": AdaBoostClassifier(
        DecisionTreeClassifier(max_depth=2, random_state=0), n_estimators=5, random_state=0
    ),
    "ada_boost_two.cancer": AdaBoostClassifier(DecisionTreeClassifier(max_depth=1), n_estimators=8, random_state=0),
    "bagging.wine": BaggingClassifier(DecisionTreeClassifier(max_depth=3), n_estimators=5, random_state=0),
    "vote_hard.wine": VotingClassifier(several_trees(5), voting="hard", flatten_transform=False),
    "vote_soft.wine": VotingClassifier(
        several_trees(4), voting="soft", weights=np.array([1, 2, 1, 3]), flatten_transform=False
    ),
    "vote_forests.iris": VotingClassifier(
        [(f"forest{i}", RandomForestClassifier(2, max_depth=2, random_state=i)) for i in range(2)],
        voting="hard",
        flatten_transform=False,
    ),
}
ZIPPED = {"logistic.iris", "forest.wine"}  # these keep ZipMap


def table(name):
    data = TABLES[name.split(".")[1]]()
    return data.data.astype(np.float32), data.target.astype(np.int64)


def save(name, model):
    data = model.SerializeToString()
    (FOLDER / f"{name}.onnx").write_bytes(data)
    print(f"{name}: {len(data):,} bytes")


def numbers_only(make):
    """Converters hand numpy's truth values and small integers to a protobuf that takes none of them."""

    def wrapped(key, value, *rest, **named):
        if isinstance(value, list | tuple | np.ndarray) and any(
            isinstance(v, bool | np.bool_ | np.integer) for v in value
        ):
            value = [int(v) for v in value]
        return make(key, value, *rest, **named)

    return wrapped


def sklearn_models():
    for name, pipeline in SKLEARN.items():
        x, y = table(name)
        pipeline.fit(x, y)
        last = pipeline.steps[-1][1] if hasattr(pipeline, "steps") else pipeline
        options = {id(last): {"zipmap": name in ZIPPED}}
        save(name, to_onnx(pipeline, x[:1], options=options, target_opset={"": 17, "ai.onnx.ml": 3}))


def boosted_models():
    for name in ("xgboost.wine", "xgboost_two.cancer"):
        x, y = table(name)
        model = xgboost.XGBClassifier(n_estimators=6, max_depth=3, random_state=0).fit(x, y)
        save(name, convert_xgboost(model, initial_types=[("x", FloatTensor([None, x.shape[1]]))], target_opset=15))
    for name in ("lightgbm.wine", "lightgbm_two.cancer"):
        x, y = table(name)
        model = lightgbm.LGBMClassifier(n_estimators=6, num_leaves=6, random_state=0, verbose=-1).fit(x, y)
        initial = [("x", FloatTensor([None, x.shape[1]]))]
        save(name, convert_lightgbm(model, initial_types=initial, target_opset=15, zipmap="two" not in name))
    for name in ("catboost.wine", "catboost_two.cancer"):
        x, y = table(name)
        model = CatBoostClassifier(iterations=6, depth=3, random_seed=0, verbose=False, allow_writing_files=False)
        model.fit(x, y)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            model.save_model(str(path), format="onnx")
            data = path.read_bytes()
        (FOLDER / f"{name}.onnx").write_bytes(data)
        print(f"{name}: {len(data):,} bytes")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    onnx.helper.make_attribute = numbers_only(onnx.helper.make_attribute)
    sklearn_models()
    boosted_models()
