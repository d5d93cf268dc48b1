import hashlib
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest

from kdfixmatch_keras.backbones.torch_weights import read_arrays

VALUES = np.arange(6, dtype="<f4")


class Global:
    """Pickled as what is called `name` in `module`, called with `arguments`."""

    def __init__(self, module, name, *arguments):
        self.module, self.name, self.arguments = module, name, arguments

    def opcodes(self):
        found = f"c{self.module}\n{self.name}\n".encode()
        if not self.arguments:
            return found
        # Without what protocol and end of a pickle are.
        parts = [pickle.dumps(argument, 2)[2:-1] for argument in self.arguments]
        return found + b"(" + b"".join(parts) + b"tR"


def described(shape=(2, 3), strides=(1, 2), offset=0, kind="FloatStorage"):
    """Opcodes of a state dictionary with one array, as PyTorch writes them."""
    storage = b"(X\7\0\0\0storage" + Global("torch", kind).opcodes()
    storage += b"X\1\0\0\0aX\3\0\0\0cpuK\6NtQ"
    rest = [pickle.dumps(part, 2)[2:-1] for part in (offset, shape, strides, False)]
    rebuild = Global("torch._utils", "_rebuild_tensor_v2").opcodes()
    hooks = Global("collections", "OrderedDict").opcodes() + b")R"
    array = rebuild + b"(" + storage + b"".join(rest) + hooks + b"tR"
    return hooks + b"X\1\0\0\0w" + array + b"s"


def write(path, opcodes, version=1001):
    """A file in the format of PyTorch before 1.6, and its checksum."""
    content = b"".join(
        pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, version, {})
    )
    content += b"\x80\2" + opcodes + b"." + pickle.dumps(["a"], 2)
    content += struct.pack("<q", len(VALUES)) + VALUES.tobytes()
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_arrays_are_read_as_they_lie(tmp_path):
    path = tmp_path / "w.pth"
    arrays = read_arrays(path, write(path, described()))
    assert list(arrays) == ["w"]
    np.testing.assert_array_equal(arrays["w"], [[0, 2, 4], [1, 3, 5]])
    assert arrays["w"].dtype == np.float32


def test_another_file_is_refused_before_it_is_unpickled(tmp_path):
    path = tmp_path / "w.pth"
    checksum = write(path, described())
    write(path, Global("os", "system", f"touch {tmp_path}/called").opcodes())
    with pytest.raises(ValueError, match=f"must be a file with the SHA-256 {checksum}"):
        read_arrays(path, checksum)


@pytest.mark.parametrize(
    "module, name", [("os", "system"), ("builtins", "eval"), ("torch", "load")]
)
def test_a_pickle_cannot_call_anything(tmp_path, module, name):
    path = tmp_path / "w.pth"
    called = tmp_path / "called"
    argument = f"touch {called}" if name == "system" else f"open({str(called)!r}, 'w')"
    checksum = write(path, Global(module, name, argument).opcodes())
    with pytest.raises(ValueError, match=f"it asks for {module}.{name}"):
        read_arrays(path, checksum)
    assert not called.exists()


def test_what_is_known_cannot_be_changed_for_the_next_file(tmp_path):
    path = tmp_path / "w.pth"
    rebuild = Global("torch._utils", "_rebuild_tensor_v2").opcodes()
    state = pickle.dumps((None, {"__defaults__": ("x",), "__doc__": "x"}), 2)[2:-1]
    with pytest.raises(ValueError, match="must be a state dictionary"):
        read_arrays(path, write(path, rebuild + state + b"b"))
    read_arrays(path, write(path, described()))


@pytest.mark.parametrize(
    "changes",
    [{"offset": 1}, {"shape": (3, 3)}, {"strides": (1, -2)}, {"kind": "HalfStorage"}],
)
def test_an_array_must_lie_in_its_storage(tmp_path, changes):
    path = tmp_path / "w.pth"
    with pytest.raises(ValueError, match="must be a state dictionary of arrays"):
        read_arrays(path, write(path, described(**changes)))


def test_a_truncated_file_and_another_format_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    write(path, described())
    whole = path.read_bytes()
    for length in (0, 5, 60, len(whole) - 1):
        path.write_bytes(whole[:length])
        checksum = hashlib.sha256(whole[:length]).hexdigest()
        with pytest.raises(ValueError, match="`path` must be a state dictionary"):
            read_arrays(path, checksum)
    with pytest.raises(ValueError, match="format .*, 7"):
        read_arrays(path, write(path, described(), version=7))
    path.write_bytes(pickle.dumps(OrderedDict(), 2))
    with pytest.raises(ValueError, match="must be a state dictionary"):
        read_arrays(path, hashlib.sha256(path.read_bytes()).hexdigest())
