"""ONNX files as models of engine.nn: real ones, trained further, cut, saved; and the messages."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine import datasets, nn

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402

from engine.interop import onnx as engine_onnx  # noqa: E402

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def data(*names):
    """A file below ENGINE_DATA."""
    folder = os.environ.get("ENGINE_DATA")
    if not folder:
        pytest.skip("ENGINE_DATA names no folder with the data sets")
    return Path(folder, *names)


def graph_of(nodes, inputs, outputs, arrays=(), opset=20):
    """A model of nodes (op, inputs, outputs, attributes) and arrays by name."""
    nodes = [helper.make_node(op, ins, outs, **attributes) for op, ins, outs, attributes in nodes]
    values = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
               for name, shape in each.items()] for each in (inputs, outputs)]
    graph = helper.make_graph(nodes, "test", *values,
                              [onnx.numpy_helper.from_array(np.asarray(value), name)
                               for name, value in dict(arrays).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def small_network(**kwargs):
    """A network for two classes of 6x6 images, as ONNX; the batch size is fixed at 1."""
    rng = np.random.default_rng(3)
    return engine_onnx.load(graph_of(
        [("Conv", ["x", "w", "b"], ["c"], {"pads": [1, 1, 1, 1]}),
         ("Relu", ["c"], ["r"], {}),
         ("Dropout", ["r", "rate"], ["d"], {}),
         ("GlobalAveragePool", ["d"], ["g"], {}),
         ("Reshape", ["g", "row"], ["f"], {}),
         ("Gemm", ["f", "v"], ["z"], {}),
         ("Softmax", ["z"], ["p"], {"axis": 1})],
        {"x": [1, 1, 6, 6]}, {"p": [1, 2]},
        {"w": rng.standard_normal((4, 1, 3, 3), np.float32), "b": np.zeros(4, np.float32),
         "v": rng.standard_normal((4, 2), np.float32), "row": [1, 4],
         "rate": np.float32(0.1)}), **kwargs)


def stripes(n):
    """Images of rows (class 0) and of columns (class 1)."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 0.3, (n, 1, 6, 6)).astype(np.float32), np.arange(n) % 2
    x[y == 0, :, ::2] += 1
    x[y == 1, :, :, ::2] += 1
    return x, y


# ---- real networks -----------------------------------------------------------------------------

@pytest.mark.parametrize("name, parameters, outputs", [
    ("squeezenet", 1_235_496, (1000, 1, 1)), ("inception_v1", 6_998_552, (1000,)),
    ("resnet50", 25_557_032, (1000,)),
])
def test_parameters_of_the_light_networks(name, parameters, outputs):
    model = engine_onnx.load(LIGHT / f"light_{name}.onnx")
    assert model.num_params == parameters
    assert model.output_shape == outputs


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "densenet121", "inception_v1",
                                  "inception_v2"])
def test_light_networks_with_weights_of_all_kinds(name):
    """Their own weights are all alike; with random ones they give what onnxruntime gives."""
    ort = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    proto = engine_onnx.load(LIGHT / f"light_{name}.onnx").proto()
    variances = {node.input[4] for node in proto.graph.node if node.op_type == "BatchNormalization"}
    for each in proto.graph.initializer:
        value = onnx.numpy_helper.to_array(each)
        if each.name in variances:
            value = rng.uniform(0.5, 1.5, value.shape)
        elif value.dtype == np.float32:
            value = rng.normal(0, (1 / value[0].size) ** 0.5 if value.ndim > 1 else 0.3,
                               value.shape)
        each.CopyFrom(onnx.numpy_helper.from_array(
            value.astype(onnx.helper.tensor_dtype_to_np_dtype(each.data_type)), each.name))
    model = engine_onnx.load(proto)
    x = rng.standard_normal((1, *model.input_shape), np.float32)
    session = ort.InferenceSession(proto.SerializeToString())
    expected, = session.run(None, {model.inputs[0]: x})
    assert 0 < np.abs(expected).std() < 0.3 * np.abs(expected).max()  # neither alike nor one alone
    prepared, = engine_onnx.Backend.prepare(proto).run([x])
    for actual in model.predict(x), prepared:
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_mnist_at_its_stated_accuracy():
    model = engine_onnx.load(data("onnx_small", "mnist.onnx"))
    assert model.num_params == 5_994
    test = datasets.load("mnist", data("mnist"))
    scores = model.evaluate(test.x_test * 255, test.y_test,
                            loss=nn.CategoricalCrossEntropy(from_logits=True))
    assert scores["accuracy"] == 0.9891  # as onnxruntime


def test_the_face_detector_finds_the_face():
    image = pytest.importorskip("PIL.Image")
    model = engine_onnx.load(data("onnx_small", "ultraface_rfb_320.onnx"))
    with image.open(data("photos", "person_grace_hopper.png")) as file:
        pixels = np.asarray(file.convert("RGB").resize((320, 240)), np.float32)
    x = ((pixels - 127) / 128).transpose(2, 0, 1)[None]
    results = model.predict_all(x)
    best = results["scores"][0, :, 1].argmax()
    assert results["scores"][0, best, 1] == pytest.approx(1.0, abs=5e-4)
    np.testing.assert_allclose(results["boxes"][0, best], [0.339, 0.202, 0.698, 0.556], atol=2e-3)
    both = model.predict_all(np.concatenate([x, x[..., ::-1]]))  # the file says a batch of 1
    np.testing.assert_array_equal(both["boxes"][0], results["boxes"][0])


# ---- training further --------------------------------------------------------------------------

def test_training_further():
    model = small_network(seed=0)
    assert [name for name, _ in model.parameters()] == ["w", "b", "v"]
    x, y = stripes(64)
    before = model.evaluate(x, y)
    history = model.fit(x, y, epochs=40, batch_size=16, optimizer=nn.Adam(0.02), progress=False)
    after = model.evaluate(x, y)
    assert before["accuracy"] == 0.5 and after["accuracy"] == 1.0
    assert history["loss"][-1] < history["loss"][0] / 2


def test_the_same_seed_trains_alike():
    x, y = stripes(32)
    models = [small_network(seed=3) for _ in range(2)]
    for model in models:
        model.fit(x, y, epochs=2, progress=False)
    np.testing.assert_array_equal(models[0].weights, models[1].weights)
    other = small_network(seed=4)
    other.fit(x, y, epochs=2, progress=False)
    assert (other.weights != models[0].weights).any()


def test_frozen_layers_stay_as_they_are():
    model = small_network(seed=0)
    model.freeze(until="d")  # convolution, ReLU and dropout
    before = {name: value.copy() for name, value in model.parameters()}
    x, y = stripes(64)
    model.fit(x, y, epochs=2, progress=False)
    after = dict(model.parameters())
    for name in "w", "b":
        np.testing.assert_array_equal(after[name], before[name])
    assert (after["v"] != before["v"]).all()
    model.forward(x, training=True)
    with pytest.raises(RuntimeError, match="no gradient of x behind frozen layers"):
        model.backward(np.zeros((64, 2), np.float32))
    with pytest.raises(ValueError, match="`until` is 'q', expected None or one of 'c', 'r'"):
        model.freeze(until="q")


def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path):
    x, y = stripes(64)
    whole, half, rest = (small_network(seed=seed) for seed in (1, 1, 2))
    whole.fit(x, y, epochs=4, progress=False)
    half.fit(x, y, epochs=2, progress=False, callbacks=[nn.Checkpoint(tmp_path / "half")])
    rest.fit(x, y, epochs=4, progress=False, resume=tmp_path / "half")
    np.testing.assert_array_equal(rest.weights, whole.weights)


def test_what_was_trained_is_saved_as_onnx(tmp_path):
    model = small_network(seed=0)
    x, y = stripes(32)
    model.metadata = {"classes": ["rows", "columns"]}
    model.fit(x, y, epochs=2, progress=False)
    model.save(tmp_path / "trained.onnx")
    onnx.checker.check_model(tmp_path / "trained.onnx", full_check=True)
    again = nn.load(tmp_path / "trained.onnx")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.epochs_done == 2 and again.metadata == model.metadata
    model.save(tmp_path / "trained.safetensors")
    np.testing.assert_array_equal(nn.load(tmp_path / "trained.safetensors").predict(x),
                                  model.predict(x))


def test_features_of_a_file_under_a_new_head(tmp_path):
    features = small_network(output="g")
    assert features.output_shape == (4, 1, 1)
    model = nn.Sequential([features, nn.Flatten(), nn.Dense(2), nn.Softmax()],
                          input_shape=(1, 6, 6), seed=0)
    x, y = stripes(64)
    model.fit(x, y, epochs=40, batch_size=16, optimizer=nn.Adam(0.02), progress=False)
    assert model.evaluate(x, y)["accuracy"] >= 0.95
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(nn.load(tmp_path / "model.safetensors").predict(x),
                                  model.predict(x))
    engine_onnx.export(model, tmp_path / "model.onnx")
    np.testing.assert_allclose(engine_onnx.load(tmp_path / "model.onnx").predict(x),
                               model.predict(x), rtol=1e-5, atol=1e-7)


def test_a_weight_of_two_nodes_gets_both_gradients():
    model = engine_onnx.load(graph_of(
        [("Mul", ["x", "w"], ["y"], {}), ("Mul", ["y", "w"], ["z"], {})],
        {"x": ["N", 3]}, {"z": ["N", 3]}, {"w": np.float32([1, 2, 3])}))
    x = np.float32([[1, 1, 1], [2, 2, 2]])
    model.forward(x, training=True)
    dx = model.backward(np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(dx, np.float32([[1, 4, 9]] * 2))
    np.testing.assert_array_equal(model.gradients, [2 * 3 * 1, 2 * 3 * 2, 2 * 3 * 3])


def test_half_precision_is_computed_in_single():
    proto = graph_of([("Gemm", ["x", "w"], ["y"], {})], {"x": ["N", 2]}, {"y": ["N", 2]},
                     {"w": np.float16([[1, 2], [3, 4]])})
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    model = engine_onnx.load(proto)
    np.testing.assert_array_equal(model.predict([[1, 1]]), np.float32([[4, 6]]))
    weight, = model.proto().graph.initializer
    assert weight.data_type == TensorProto.FLOAT16  # as in the file


# ---- inputs, outputs and messages --------------------------------------------------------------

def test_several_inputs():
    model = engine_onnx.load(graph_of([("Add", ["a", "b"], ["c"], {})],
                                      {"a": ["N", 2], "b": ["N", 2]}, {"c": ["N", 2]}))
    result = model.predict_all({"a": np.ones((1, 2)), "b": np.ones((1, 2))})
    np.testing.assert_array_equal(result["c"], [[2, 2]])
    with pytest.raises(ValueError, match="predict_all: `inputs` has a, expected a, b"):
        model.predict_all({"a": np.ones((1, 2))})
    with pytest.raises(ValueError, match="has the inputs a, b, expected one"):
        model.prepare((2,))


def test_open_sizes_are_known_from_the_first_data():
    proto = graph_of([("Relu", ["x"], ["y"], {})], {"x": ["N", 2, "H"]}, {"y": ["N", 2, "H"]})
    with pytest.raises(ValueError, match="predict: the model has no `input_shape` yet"):
        engine_onnx.load(proto).predict(np.zeros((1, 2, 5)))
    model = engine_onnx.load(proto, input_shape=(2, 5))
    assert model.predict(np.zeros((3, 2, 5))).shape == (3, 2, 5)
    with pytest.raises(ValueError, match=r"`input_shape` is \(3, 5\), expected \(2, any\)"):
        engine_onnx.load(proto, input_shape=(3, 5))


def test_everything_that_is_missing_is_listed_once():
    body = helper.make_graph([], "body", [], [])
    expected = ("operator Loop; operator STFT (2 times); operator Cast with elements of type "
                "STRING; elements of type STRING")
    proto = graph_of([("Loop", ["", "x"], ["a"], {"body": body}),
                      ("STFT", ["x", "x"], ["b"], {}), ("STFT", ["x", "x"], ["c"], {}),
                      ("Relu", ["x"], ["d"], {}),
                      ("Cast", ["x"], ["e"], {"to": TensorProto.STRING})],
                     {"x": [1]}, {"d": [1]}, {"words": np.array(["a"], object)})
    with pytest.raises(NotImplementedError) as error:
        engine_onnx.load(proto)
    assert str(error.value) == ("load: the model needs what engine.interop.onnx does not have: "
                                + expected)
    with pytest.raises(NotImplementedError):
        engine_onnx.Backend.prepare(graph_of([("GridSample", ["x", "x"], ["d"], {})],
                                             {"x": [1, 1, 4]}, {"d": [1]}))


def test_bad_files_and_names(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match="load: `source` is no valid ONNX model"):
        engine_onnx.load(tmp_path / "bad.onnx")
    with pytest.raises(FileNotFoundError):
        engine_onnx.load(tmp_path / "missing.onnx")
    with pytest.raises(ValueError, match="load: `output` is 'q', expected an array of the graph"):
        small_network(output="q")


def test_an_error_names_the_node_and_what_it_was_given():
    proto = graph_of([("Conv", ["x", "w"], ["y"], {})], {"x": ["N", 3, 5, 5]}, {"y": None},
                     {"w": np.zeros((4, 2, 3, 3), np.float32)})
    with pytest.raises(ValueError, match=r"^Conv 'y' on float32 \(1, 3, 5, 5\), float32 "
                       r"\(4, 2, 3, 3\): conv2d: `weight` has 2 input channels"):
        engine_onnx.load(proto)


def test_one_node():
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    y, = engine_onnx.Backend.run_node(node, [x])
    np.testing.assert_array_equal(y, [[[[5, 7], [13, 15]]]])
    assert not engine_onnx.Backend.supports_device("CUDA")


def test_a_branch_reads_what_is_around_it():
    def body(op):
        return helper.make_graph([helper.make_node(op, ["x", "w"], ["r"])], op, [],
                                 [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)])

    proto = graph_of([("ReduceSum", ["x"], ["s"], {"keepdims": 0}),
                      ("Greater", ["s", "zero"], ["c"], {}),
                      ("If", ["c"], ["y"], {"then_branch": body("Mul"),
                                            "else_branch": body("Sub")})],
                     {"x": ["N", 2]}, {"y": ["N", 2]},
                     {"w": np.float32([3, 4]), "zero": np.float32(0)})
    model = engine_onnx.load(proto)
    for x, y, dx in ([[1, 2]], [[3, 8]], [[3, 4]]), ([[-1, -2]], [[-4, -6]], [[1, 1]]):
        np.testing.assert_array_equal(model.forward(np.float32(x), training=True), y)
        np.testing.assert_array_equal(model.backward(np.ones((1, 2), np.float32)), dx)


def test_arrays_in_a_file_of_their_own(tmp_path):
    model = small_network()
    onnx.save(model.proto(), tmp_path / "model.onnx", save_as_external_data=True,
              location="weights.bin", size_threshold=0)
    x, _ = stripes(3)
    np.testing.assert_array_equal(engine_onnx.load(tmp_path / "model.onnx").predict(x),
                                  model.predict(x))


def test_convolutions_absorb_what_follows_them():
    rng = np.random.default_rng(0)
    proto = graph_of(
        [("Conv", ["x", "w", "b"], ["c"], {}),
         ("BatchNormalization", ["c", "s", "t", "m", "v"], ["n"], {}),
         ("Clip", ["n", "zero", "six"], ["r"], {}),
         ("Conv", ["r", "u"], ["d"], {}),  # is read twice
         ("Relu", ["d"], ["e"], {}),
         ("Add", ["d", "e"], ["y"], {})],
        {"x": ["N", 2, 7, 7]}, {"y": ["N", 3, 4, 4]},
        {"w": rng.standard_normal((4, 2, 3, 3), np.float32),
         "u": rng.standard_normal((3, 4, 2, 2), np.float32),
         "zero": np.float32(0), "six": np.float32(6),
         **{name: rng.random(4, np.float32) + 0.5 for name in "bstmv"}})
    prepared = engine_onnx.Backend.prepare(proto)
    assert [node.op for node in prepared.nodes] == ["Conv", "Conv", "Relu", "Add"]
    for n in 1, 3, 1:
        x = 3 * rng.standard_normal((n, 2, 7, 7), np.float32)
        y, = prepared.run([x])
        np.testing.assert_allclose(y, engine_onnx.load(proto, input_shape=(2, 7, 7)).predict(x),
                                   rtol=1e-4, atol=1e-4)


def test_without_onnx_the_import_says_how_to_get_it():
    code = "import sys; sys.modules['onnx'] = None; import engine.interop.onnx"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'ImportError: engine.interop.onnx needs onnx: pip install "convengine[onnx]"' \
        in done.stderr
