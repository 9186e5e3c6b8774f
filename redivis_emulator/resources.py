"""Resources as JSON objects: base, list and get forms; each form extends the one before (redivis-api §5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from redivis_emulator.references import escape, ref_id

if TYPE_CHECKING:
    from redivis_emulator.library import AccessLevel, Dataset, Member, Owner, Table, Variable, Version, Workflow
    from redivis_emulator.sessions import Session

Json = dict[str, Any]
_WEB = "https://redivis.com"
_NO_EXTENT = {"temporalRange": None, "temporalPrecision": None, "geoBBox": None}


@dataclass(frozen=True)
class DatasetPlace:
    """A dataset at one version; the references of its tables contain that version (redivis-api §3)."""

    container: Dataset
    version: Version
    sample: bool = False

    @property
    def scoped_reference(self) -> str:
        """The reference without the owner: `name:ref[:sample]:version`."""
        sample = ":sample" if self.sample else ""
        return f"{_scoped(self.container)}{sample}:{self.version.tag.replace('.', '_')}"

    @property
    def uri(self) -> str:
        """Path of the dataset."""
        return f"/datasets/{qualified_reference(self)}"

    @property
    def url(self) -> str:
        """URL of the web page, without the version."""
        return f"{_WEB}/datasets/{self.container.id}"

    @property
    def query(self) -> str:
        """The query of the web page's URL: the version."""
        return f"?v={self.version.tag.removeprefix('v')}"


@dataclass(frozen=True)
class WorkflowPlace:
    """A workflow. It has no versions."""

    container: Workflow
    query = ""

    @property
    def scoped_reference(self) -> str:
        """The reference without the owner: `name:ref`."""
        return _scoped(self.container)

    @property
    def uri(self) -> str:
        """Path of the workflow."""
        return f"/workflows/{qualified_reference(self)}"

    @property
    def url(self) -> str:
        """URL of the web page."""
        return f"{_WEB}/workflows/{self.container.id}"


Place = DatasetPlace | WorkflowPlace


def _scoped(resource: Dataset | Workflow | Table) -> str:
    return f"{escape(resource.name)}:{ref_id(resource.id)}"


def qualified_reference(place: Place) -> str:
    """Return the complete reference of a dataset or workflow."""
    return f"{escape(place.container.owner.name)}.{place.scoped_reference}"


def table_reference(place: Place, table: Table) -> str:
    """Return the complete reference of a table."""
    reference = f"{qualified_reference(place)}.{_scoped(table)}"
    # redivis-api §13: the second spelling of a sample.
    is_spelled = isinstance(place, DatasetPlace) and place.sample
    return f"{reference}:sample" if table.is_sample and not is_spelled else reference


def listing(kind: str, results: list[Json], next_page_token: str | None) -> Json:
    """Return the envelope of a list (redivis-api §2)."""
    return {"kind": f"{kind}List", "nextPageToken": next_page_token, "results": results}


def owner(value: Owner) -> Json:
    """Return an organization or user."""
    return {"kind": value.kind, "name": value.name, "fullName": value.full_name or value.name, "ror": value.ror}


def _container_base(kind: str, place: Place) -> Json:
    return {
        "kind": kind,
        "id": place.container.id,
        "qualifiedReference": qualified_reference(place),
        "scopedReference": place.scoped_reference,
        "referenceId": ref_id(place.container.id),
        "name": place.container.name,
        "url": place.url + place.query,
        "uri": place.uri,
        "owner": owner(place.container.owner),
    }


def container_base(place: Place) -> Json:
    """Return the base form of a dataset or workflow."""
    if isinstance(place, WorkflowPlace):
        return _container_base("workflow", place)
    return {**_container_base("dataset", place), "doi": place.container.doi}


def dataset_item(place: DatasetPlace, level: AccessLevel) -> Json:
    """Return the list form of a dataset; `level` is the caller's."""
    dataset = place.container
    size = sum(table.num_bytes for table in place.version.tables)
    files = sum(file.size for table in place.version.tables for file in table.files or ())
    total = sum(table.num_bytes for version in dataset.versions for table in version.tables)
    ratio = dataset.sample_ratio
    return {
        **container_base(place),
        "createdAt": dataset.created_at,
        "updatedAt": dataset.updated_at,
        "accessLevel": level,
        "publicAccessLevel": dataset.public_access_level,
        "description": dataset.description,
        "labels": list(dataset.labels),
        "tableCount": len(place.version.tables),
        "numBytes": size,
        "totalNumBytes": total + files,
        "totalActiveTabularBytes": size,
        "totalInactiveTabularBytes": total - size,
        "totalRawFileBytes": files,
        **_NO_EXTENT,
        "sampleConfiguration": None if ratio is None else {"variableName": None, "targetRatio": ratio},
    }


def dataset(place: DatasetPlace, level: AccessLevel) -> Json:
    """Return the get form of a dataset."""
    value = place.container
    current, draft = value.version("current"), value.version("next")
    return {
        **dataset_item(place, level),
        "methodologyMarkdown": value.methodology_markdown,
        "usageMarkdown": value.usage_markdown,
        "contactInfo": value.contact_info,
        "links": [dict(link) for link in value.links],
        "customDocumentationSections": [],
        "tags": [{"name": name} for name in value.tags],
        "version": version_base(place),
        "currentVersion": version_base(DatasetPlace(value, current)) if value.current and current else None,
        "nextVersion": version_base(DatasetPlace(value, draft)) if draft and level == "edit" else None,
    }


def version_base(place: DatasetPlace) -> Json:
    """Return the base form of a version."""
    version = place.version
    unpinned = f"/datasets/{escape(place.container.owner.name)}.{_scoped(place.container)}"
    return {
        "kind": "version",
        "tag": version.tag,
        "index": version.index,
        "label": version.label,
        "url": place.url + place.query,
        "uri": f"{unpinned}/versions/{version.tag.replace('.', '_')}",
        "datasetUri": place.uri,
        "isReleased": version.is_released,
        "isDeleted": version.is_deleted,
    }


def version_item(place: DatasetPlace) -> Json:
    """Return the list form of a version."""
    version = place.version
    times = {"createdAt": version.created_at, "updatedAt": version.created_at, "releasedAt": version.released_at}
    return {**version_base(place), **times}


def version(place: DatasetPlace) -> Json:
    """Return the get form of a version."""
    versions = place.container.visible_versions
    here = versions.index(place.version)
    before = versions[here - 1] if here else None
    after = versions[here + 1] if here + 1 < len(versions) else None
    return {
        **version_item(place),
        "releaseNotes": place.version.release_notes,
        "canRelease": not place.version.is_released,
        "previousVersion": version_base(DatasetPlace(place.container, before)) if before else None,
        "nextVersion": version_base(DatasetPlace(place.container, after)) if after else None,
    }


def workflow_item(place: WorkflowPlace) -> Json:
    """Return the list form of a workflow."""
    value = place.container
    return {
        **container_base(place),
        "createdAt": value.created_at,
        "publicAccessLevel": "none" if value.public_access_level == "none" else "view",
        "studyAccessLevel": None,
        "accessLevel": "edit" if value.access_level == "edit" else "view",
        "study": None,
    }


def workflow(place: WorkflowPlace) -> Json:
    """Return the get form of a workflow."""
    return {
        **workflow_item(place),
        "lastActive": place.container.created_at,
        "tableCount": len(place.container.tables),
        "transformCount": 0,
        "notebookCount": 0,
        "description": place.container.description,
    }


def data_source(workflow: WorkflowPlace, source: Place) -> Json:
    """Return a data source of a workflow: a dataset or another workflow."""
    kind = "sourceWorkflow" if isinstance(source, WorkflowPlace) else "sourceDataset"
    uri = f"{workflow.uri}/dataSources/{source.container.id}"
    return {"kind": "dataSource", "id": source.container.id, "uri": uri, kind: container_base(source)}


def member(organization: Owner, value: Member) -> Json:
    """Return a member of an organization."""
    return {
        "kind": "member",
        "uri": f"/organizations/{quote(organization.name, safe='')}/members/{quote(value.name, safe='')}",
        "user": {"kind": "user", "name": value.name, "fullName": value.full_name or value.name},
        "status": value.status,
        "labels": list(value.labels),
    }


def table_item(place: Place, table: Table) -> Json:
    """Return the list form of a table."""
    reference = table_reference(place, table)
    return {
        "kind": "table",
        "id": table.id,
        "uri": f"/tables/{reference}",
        "url": f"{place.url}/tables/{table.id}{place.query}",
        "qualifiedReference": reference,
        "scopedReference": _scoped(table),
        "referenceId": ref_id(table.id),
        "name": table.name,
        "hash": table.hash,
        "isSample": table.is_sample,
        "isFileIndex": table.files is not None,
        "createdAt": table.created_at,
        "updatedAt": table.updated_at,
        "description": table.description,
        "numRows": table.num_rows,
        "numBytes": table.num_bytes,
        "variableCount": len(table.variables),
        "uploadMergeStrategy": table.upload_merge_strategy,
    }


def table(place: Place, value: Table, level: AccessLevel) -> Json:
    """Return the get form of a table; `level` is the caller's."""
    return {
        **table_item(place, value),
        "canDownload": level in {"data", "edit"},
        "entity": None if value.entity is None else {"name": value.entity},
        **_NO_EXTENT,
        "publicAccessLevel": place.container.public_access_level,
        "accessLevel": level,
        "container": container_base(place),
    }


def variable_item(parent: str, index: int, value: Variable) -> Json:
    """Return the list form of a variable; `parent` is the path of its table, query or upload."""
    return {
        "kind": "variable",
        # The name in lower case, though `name` keeps its case (redivis-api §3.2).
        "uri": f"{parent}/variables/{quote(value.name.lower(), safe='')}",
        "url": f"{_WEB}{parent}",
        "name": value.name,
        "type": value.type,
        "isFileId": value.is_file_id,
        "index": index,
        "label": value.label,
    }


def variable(parent: str, index: int, value: Variable) -> Json:
    """Return the get form of a variable."""
    labels = [{"value": key, "label": label} for key, label in value.value_labels.items()]
    return {
        **variable_item(parent, index, value),
        "description": value.description,
        "valueLabels": labels or None,
    }


def read_session(session: Session, expires_at: float) -> Json:
    """Return an open read session (redivis-api §4.6); `expires_at` in seconds."""
    return {
        "kind": "readSession",
        "id": session.id,
        "uri": f"/readSessions/{session.id}",
        "numRows": session.num_rows,
        "expiresAt": int(expires_at * 1000),
        "streams": [
            {
                "kind": "readStream",
                "id": stream.id,
                "uri": f"/readStreams/{stream.id}",
                "estimatedRows": stream.rows,
            }
            for stream in session.streams
        ],
    }
