"""Steps that read metadata: owners, datasets, versions, tables, variables, workflows."""

from __future__ import annotations

from typing import Any

import redivis

from tests.conformance.client.steps import analysis, claims, error_of, medicare, step, table


def _names(things: list[Any]) -> list[list[str]]:
    return [[thing.name, thing.qualified_reference, thing.scoped_reference] for thing in things]


def _only_names(things: list[Any]) -> list[str]:
    return [thing.name for thing in things]


@step
def list_datasets() -> Any:
    return [_names(owner.list_datasets()) for owner in (redivis.organization("demo"), redivis.user("alice"))]


@step
def list_tables() -> Any:
    return _names(medicare().list_tables())


@step
def dataset_get() -> Any:
    found = medicare().get()
    return [*_names([found])[0], found.uri, found.properties["version"]["tag"], found.properties["nextVersion"]["tag"]]


@step
def list_versions() -> Any:
    return [[version.tag, version.uri] for version in medicare().get().list_versions()]


@step
def versions() -> Any:
    newest = medicare().get().version("v1.1").get()
    by_dot = redivis.dataset("demo.medicare", version="1.0").version().get()
    return {
        "uri": newest.uri,
        "previous": newest.previous_version().get().uri,
        "next": newest.next_version().tag,
        "first": newest.previous_version().previous_version(),
        "by dot": by_dot.uri,
        "released": [newest.properties["isReleased"], newest.next_version().get().properties["isReleased"]],
    }


@step
def not_found() -> Any:
    try:
        table("nothing").get()
    except redivis.exceptions.NotFoundError as error:
        return str(error)
    return None


@step
def unknown_owner_kind() -> Any:
    def kinds(name: str) -> list[bool]:
        got, guessed = redivis.dataset(name).get(), redivis.dataset(name)
        guessed._rectify_ambiguous_owner()  # noqa: SLF001 - what create() asks first, without creating
        return [bool(dataset.organization) for dataset in (got, guessed)]

    return {name: kinds(name) for name in ("demo.medicare", "alice.trials")}


@step
def list_variables() -> Any:
    listed = table("all_types").list_variables()
    cost = table("visits").variable("cost").get()
    return {
        "all_types": [[variable.name, variable.properties["type"]] for variable in listed],
        "uri": listed[6].uri,
        "cost": [cost.properties["label"], cost.properties["description"]],
        "paid": table("visits").variable("paid").get().properties["valueLabels"],
    }


@step
def variables_on_two_pages() -> Any:
    return [variable.name for variable in table("wide").list_variables()]


@step
def table_get() -> Any:
    found = table("visits").get()
    kept = {key: found.properties[key] for key in ("numRows", "numBytes", "variableCount", "description")}
    return [*_names([found])[0], found.uri, found.properties["container"]["kind"], kept]


@step
def name_with_spaces() -> Any:
    by_name = table("Medicare 20% [2006-2018] Carrier").get()
    return [by_name.name, by_name.uri == redivis.table("demo.medicare.medicare_20_2006_2018_carrier").get().uri]


@step
def workflow_tables() -> Any:
    own, all_of_them = analysis().list_tables(), analysis().list_tables(include_datasources=True)
    return {"own": [[table.name, table.uri] for table in own], "all": sorted(table.name for table in all_of_them)}


@step
def list_uploads() -> Any:
    return [[upload.name, upload.properties["status"]] for upload in claims().list_uploads()]


@step
def upload_variables() -> Any:
    return {upload.name: [each.name for each in upload.list_variables()] for upload in claims().list_uploads()}


@step
def current_user() -> Any:
    return redivis.current_user().name


@step
def exists() -> Any:
    demo, flow = redivis.organization("demo"), analysis()
    query = redivis.query("SELECT id FROM `demo.medicare.visits` LIMIT 1")
    there = {
        "organization": demo,
        "dataset": medicare(),
        "dataset of a version": redivis.dataset("demo.medicare", version="v1.0"),
        "version": medicare().version("v1.0"),
        "draft": medicare().version("next"),
        "table": table("visits"),
        "table of a workflow": flow.table("summary"),
        "inherited table": flow.table("visits"),
        "variable": table("visits").variable("COST"),
        "variable of a query": query.variable("id"),
        "variable of an upload": claims().upload("january.csv").variable("cost"),
        "upload": claims().upload("january.csv"),
        "workflow": flow,
        "data source": flow.datasource("demo.medicare"),
        "member": demo.member("alice"),
    }
    absent = {
        "organization": redivis.organization("nobody"),
        "dataset": redivis.dataset("demo.nothing"),
        "version": medicare().version("v7.0"),
        "table": table("nothing"),
        "table of a workflow": flow.table("nothing"),
        "variable": table("visits").variable("nothing"),
        "variable of a query": query.variable("nothing"),
        "variable of an upload": claims().upload("january.csv").variable("nothing"),
        "upload": claims().upload("nothing.csv"),
        "workflow": redivis.workflow("demo.nothing"),
        "data source": flow.datasource("alice.trials"),
        "member": demo.member("nobody"),
        "notebook": flow.notebook("nothing"),
        "transform": flow.transform("nothing"),
        "parameter": flow.parameter("nothing"),
    }
    return [sorted(name for name, thing in things.items() if thing.exists()) for things in (there, absent)]


@step
def gets_of_what_is_absent() -> Any:
    flow = analysis()
    absent = {
        "dataset": redivis.dataset("demo.nothing").get,
        "version": medicare().version("v7.0").get,
        "variable": table("visits").variable("nothing").get,
        "upload": claims().upload("nothing.csv").get,
        "workflow": redivis.workflow("demo.nothing").get,
        "data source": flow.datasource("alice.trials").get,
        "member": redivis.organization("demo").member("nobody").get,
        "notebook": flow.notebook("nothing").get,
        "tables of a notebook": flow.notebook("nothing").referenced_tables,
        "tables of a notebook, deprecated": flow.notebook("nothing").source_tables,
        "table of a notebook": flow.notebook("nothing").source_table,
        "output of a notebook": flow.notebook("nothing").output_table,
        "transform": flow.transform("nothing").get,
        "tables of a transform": flow.transform("nothing").referenced_tables,
        "tables of a transform, deprecated": flow.transform("nothing").source_tables,
        "table of a transform": flow.transform("nothing").source_table,
        "output of a transform": flow.transform("nothing").output_table,
        "parameter": flow.parameter("nothing").get,
        "values of a parameter": flow.parameter("nothing").get_values,
        "secret of an organization": redivis.organization("demo").secret("key").get_value,
        "secret of a user": redivis.user("alice").secret("key").get_value,
        "variables": table("nothing").list_variables,
        "uploads": table("nothing").list_uploads,
        "tables": redivis.dataset("demo.nothing").list_tables,
        "versions": redivis.dataset("demo.nothing").list_versions,
        "datasets": redivis.user("nobody").list_datasets,
        "members": redivis.organization("nobody").list_members,
    }
    return {name: error_of(call)[:1] for name, call in absent.items()}


@step
def limited_lists() -> Any:
    demo, alice, flow = redivis.organization("demo"), redivis.user("alice"), analysis()
    return {
        "datasets": len(demo.list_datasets(max_results=1)),
        "datasets of a user": len(alice.list_datasets(max_results=1)),
        "workflows": len(demo.list_workflows(max_results=1)),
        "workflows of a user": len(alice.list_workflows(max_results=1)),
        "members": len(demo.list_members(max_results=1)),
        "tables": len(medicare().list_tables(max_results=1)),
        "tables on two pages": len(medicare().list_tables(max_results=101)),
        "versions": len(medicare().list_versions(max_results=1)),
        "tables of a workflow": len(flow.list_tables(max_results=1, include_datasources=True)),
        "data sources": len(flow.list_datasources(max_results=1)),
        "notebooks": len(flow.list_notebooks(max_results=1)),
        "transforms": len(flow.list_transforms(max_results=1)),
        "parameters": len(flow.list_parameters(max_results=1)),
        "variables": len(table("visits").list_variables(max_results=1)),
        "variables on two pages": len(table("wide").list_variables(max_results=1001)),
        "uploads": len(claims().list_uploads(max_results=1)),
        "variables of an upload": len(claims().upload("january.csv").list_variables(max_results=1)),
    }


@step
def datasets_with_labels() -> Any:
    labels = (["claims"], ["claims", "yearly"], ["nothing"])
    return [_only_names(redivis.organization("demo").list_datasets(labels=each)) for each in labels]


@step
def list_workflows() -> Any:
    alice = redivis.user("alice")
    lists = (redivis.organization("demo").list_workflows(), alice.list_workflows(), alice.list_projects())
    return [_only_names(each) for each in lists]


@step
def members() -> Any:
    demo = redivis.organization("demo")
    return {
        "all": _only_names(demo.list_members()),
        "status": _only_names(demo.list_members(statuses=["pending", "left"])),
        "labels": _only_names(demo.list_members(labels=["staff"])),
        "alice": [demo.member("alice").get().properties["status"], demo.member("alice").get().user["fullName"]],
    }


@step
def datasets_of_a_version() -> Any:
    older = redivis.dataset("demo.medicare", version="1.0")
    by_ids = redivis.dataset("demo.medicare:a1b2").get()
    demo, alice = redivis.organization("demo"), redivis.user("alice")
    return {
        "workflows": [
            each.get().name for each in (demo.workflow("base"), alice.workflow("notes"), alice.project("notes"))
        ],
        "tables": _only_names(older.list_tables()),
        "uri": older.get().uri,
        "draft": redivis.dataset("demo.medicare:next").get()["version"]["tag"],
        "by ids": by_ids.uri,
        "of a user": redivis.user("alice").dataset("trials").get()["owner"]["kind"],
    }


@step
def walk_of_versions() -> Any:
    tags, version = [], medicare().version("next")
    while version:
        tags.append(version.tag)
        version = version.previous_version()
    back, version = [], medicare().version("v1.0")
    while version:
        back.append(version.tag)
        version = version.next_version()
    current = medicare().version("current").get()
    return [tags, back, current["tag"]]


@step
def walks_that_the_client_breaks_off() -> Any:
    """The client looks for an attribute that its own class lacks."""
    newest = redivis.dataset("demo.medicare", version="v1.1")
    walks = (newest.previous_version, newest.next_version, newest.version().dataset)
    errors = []
    for walk in walks:
        try:
            walk()
        except AttributeError as error:
            errors.append("scopedReference" in str(error))
    return errors


@step
def statistics() -> Any:
    kinds = ("string", "integer", "float", "boolean", "date", "dateTime", "time", "geography")
    found = {kind: table("all_types").variable(kind).get_statistics() for kind in kinds}
    of_query = redivis.query("SELECT cost FROM `demo.medicare.visits`").variable("cost").get_statistics()
    of_upload = claims().upload("january.csv").variable("cost").get_statistics()
    counts = {kind: [each["status"], each["count"]] for kind, each in found.items()}
    largest = [found["integer"]["max"], of_upload["max"]]
    return {"counts": counts, "query": of_query["count"], "largest": largest}


@step
def uploads() -> Any:
    upload = claims().upload("january.csv")
    upload.get()
    variable = upload.variable("cost").get()
    return [upload["status"], upload["type"], upload["numRows"], variable["type"]]


@step
def data_sources() -> Any:
    flow = analysis()
    listed = flow.list_datasources()
    dataset = flow.datasource("demo.medicare").get()
    base = flow.datasource(redivis.workflow("demo.base").get()).get()
    return {
        "listed": [each["id"] for each in listed] == [dataset["id"], base["id"]],
        "dataset": dataset.source_dataset().qualified_reference,
        "workflow": base.source_workflow().name,
        "wrong": [error_of(dataset.source_workflow)[:1], error_of(base.source_dataset)[:1]],
        "unread": flow.datasource("demo.medicare").source_dataset().name,
    }


@step
def empty_lists() -> Any:
    flow = analysis()
    return [flow.list_notebooks(), flow.list_transforms(), flow.list_parameters()]


@step
def workflow_get() -> Any:
    found = analysis().get()
    tables = [analysis().table(name).get() for name in ("summary", "visits")]
    return [found.name, found.uri, [each["container"]["kind"] for each in tables]]


@step
def raw_requests() -> Any:
    return [redivis.make_api_request(method="GET", path="/datasets/demo.medicare")["kind"], redivis.current_workflow()]
