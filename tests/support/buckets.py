"""A local S3: the server of moto, started as a process, and the files and unfinished uploads in it."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow.fs
import requests

from tests.support.environments import environment

_KEY_PARTS = ("AccessKeyId", "SecretAccessKey")
_RUNNING = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")
_KEY = re.compile(r"<Upload>.*?<Key>([^<]*)</Key>")


@dataclass(frozen=True)
class S3:
    """A running server.

    Attributes:
        endpoint: Its URL.
        key: Id of the access key.
        secret: The access key, which must not be shown.
    """

    endpoint: str
    key: str
    secret: str = field(repr=False)
    scheme = "s3"

    @property
    def variables(self) -> Mapping[str, str]:
        """What a program finds it by."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def bucket(self) -> str:
        """Make a bucket; return its name."""
        name = f"bucket-{secrets.token_hex(6)}"
        requests.put(f"{self.endpoint}/{name}", timeout=20).raise_for_status()
        return name

    def files(self, bucket: str) -> dict[str, int]:
        """List names and sizes of the files in a bucket."""
        selector = pyarrow.fs.FileSelector(bucket, recursive=True)
        found = self.file_system.get_file_info(selector)
        return {each.path.removeprefix(f"{bucket}/"): each.size for each in found if each.is_file}

    def unfinished(self, bucket: str) -> list[str]:
        """List the names of the files that uploads are under way of."""
        answer = requests.get(f"{self.endpoint}/{bucket}?uploads", timeout=20)
        answer.raise_for_status()
        return _KEY.findall(answer.text)

    def of_a_user_without_rights(self) -> S3:
        """Make a user who may do nothing, and let the server ask from now on who it is."""
        with (
            _call(self.endpoint, "CreateUser"),
            _call(self.endpoint, "CreateAccessKey") as answer,
            requests.post(f"{self.endpoint}/moto-api/reset-auth", data="0", timeout=20) as reset,
        ):
            reset.raise_for_status()
            key, secret = (re.findall(f"<{name}>([^<]*)</{name}>", answer.text)[0] for name in _KEY_PARTS)
        return replace(self, key=key, secret=secret)

    def begin_upload(self, bucket: str, name: str) -> None:
        """Begin an upload that nobody goes on with, as a killed run does."""
        requests.post(f"{self.endpoint}/{bucket}/{name}?uploads", timeout=20).raise_for_status()

    def download(self, url: str, folder: Path) -> Path:
        """Copy a file, of which a message says where it is, to a folder, under its last name."""
        bucket, _, name = url.removeprefix("s3://").partition("/")
        target = folder / name.rpartition("/")[2]
        target.write_bytes(self.read(bucket, name))
        return target

    def read(self, bucket: str, name: str) -> bytes:
        """Return what is in a file."""
        with self.file_system.open_input_stream(f"{bucket}/{name}", compression=None) as source:
            return bytes(source.read())

    @property
    def file_system(self) -> pyarrow.fs.FileSystem:
        """Reads the files by other code than the tap's."""
        return pyarrow.fs.S3FileSystem(
            access_key=self.key, secret_key=self.secret, endpoint_override=self.endpoint, region="us-east-1"
        )


def _call(endpoint: str, action: str) -> requests.Response:
    """Call IAM, of which it is said who asks, but not proved."""
    who = "AWS4-HMAC-SHA256 Credential=tests/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x"
    answer = requests.post(
        endpoint,
        data={"Action": action, "UserName": "nobody", "Version": "2010-05-08"},
        headers={"Authorization": who},
        timeout=20,
    )
    answer.raise_for_status()
    return answer


@contextmanager
def serving_s3(variables: Mapping[str, str] | None = None) -> Iterator[S3]:
    """Run the server, on a port that it chooses.

    Args:
        variables: Environment variables for it.
    """
    command = [str(environment("moto", "server").executable("moto_server")), "-H", "127.0.0.1", "-p", "0"]
    environment_variables = {**os.environ, **(variables or {})}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment_variables
    ) as server:
        assert server.stderr is not None
        try:
            endpoint = _endpoint(server.stderr)
            threading.Thread(target=deque, args=(server.stderr, 0), daemon=True).start()  # else it waits for a reader
            yield S3(endpoint, "key-of-the-tests", secrets.token_hex(20))
        finally:
            server.kill()


def _endpoint(stderr: Iterable[bytes]) -> str:
    said = []
    for line in stderr:
        said.append(line.decode())
        if found := _RUNNING.search(said[-1]):
            return found[1]
    raise RuntimeError("".join(said))
