#!/usr/bin/env python3
"""Drives every action that the simulator answers with the vendor's official SDKs, of ECI and of ECS.

The simulator was written from the vendor's documents; this is the check that the vendor's own client understands it,
and that it understands the vendor's client. Needs the packages of requirements.txt and a running simulator:

    eci-sim --port-file port &
    python conformance.py --endpoint "http://127.0.0.1:$(cat port)"

Prints one line for each check, then "N passed, M failed"; the exit code is 1 when one failed, 2 when the simulator
cannot be used. The simulator's world is reset at the start of every group.
"""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from datetime import datetime, timedelta

# The SDK honours proxies even for loopback.
for name in ("http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)

from alibabacloud_eci20180808 import models  # noqa: E402
from alibabacloud_eci20180808.client import Client  # noqa: E402
from alibabacloud_ecs20140526 import models as ecs_models  # noqa: E402
from alibabacloud_ecs20140526.client import Client as EcsClient  # noqa: E402
from alibabacloud_tea_openapi import models as open_api  # noqa: E402
from alibabacloud_tea_openapi.exceptions import (  # noqa: E402
    ClientException,
    ServerException,
    ThrottlingException,
)
from darabonba.exceptions import DaraException  # noqa: E402
from darabonba.runtime import RuntimeOptions  # noqa: E402

REGION = "cn-hangzhou"

# Seconds after which a build or an update with the simulator's default tempo is over.
BUILD = 90
UPDATE = 10


class Failed(Exception):
    """A check that did not hold."""


def expect(actual, wanted, what):
    """Fails unless both are equal."""
    if actual != wanted:
        raise Failed(f"{what}: {actual!r} instead of {wanted!r}")


class Bench:
    """A simulator, its admin API, and SDK clients for it."""

    def __init__(self, endpoint, key_id, key_secret):
        self.endpoint = endpoint.rstrip("/")
        self.key_id = key_id
        self.key_secret = key_secret

    def admin(self, method, path, body=None):
        """One call of the admin API; the decoded answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.endpoint}/_sim/{path}", data=data, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return json.load(answer)

    def advance(self, seconds):
        """Moves the world's time forward."""
        self.admin("POST", "advance", {"seconds": seconds})

    def client(self, scheme="v3", key_id=None, key_secret=None, token=None, of=Client):
        """An SDK client that signs with the scheme."""
        config = open_api.Config(
            access_key_id=key_id or self.key_id,
            access_key_secret=key_secret or self.key_secret,
            security_token=token,
            region_id=REGION,
            endpoint=self.endpoint.removeprefix("http://"),
            protocol="http",
        )
        if scheme == "v1":
            # The SDK's name for signature version 1.0.
            config.signature_algorithm = "v2"
        return of(config)


def options(read_timeout=5_000):
    """The SDK's run-time options, in milliseconds."""
    return RuntimeOptions(connect_timeout=5_000, read_timeout=read_timeout, autoretry=False)


def create_request(name="cache-one", token=None, **changes):
    """A create call with every kind of parameter: lists, nested lists, objects, numbers, booleans, special text."""
    request = models.CreateImageCacheRequest(
        region_id=REGION,
        image_cache_name=name,
        client_token=token,
        image=["private.example.com/app:1.0", "mirror.example.com/library/nginx:1.27"],
        image_cache_size=25,
        retention_days=7,
        security_group_id="sg-1",
        v_switch_id="vsw-1,vsw-2",
        auto_match_image_cache=True,
        flash=False,
        elimination_strategy="LRU",
        plain_http_registry="plain.example.com:5000",
        insecure_registry="self.example.com,other.example.com",
        standard_copy_count=2,
        image_registry_credential=[
            models.CreateImageCacheRequestImageRegistryCredential(
                server="private.example.com", user_name="robot", password="made-up-password"
            ),
            models.CreateImageCacheRequestImageRegistryCredential(
                server="other.example.com", user_name="robot$user", password="p@ss word+/=%~*"
            ),
        ],
        acr_registry_info=[
            models.CreateImageCacheRequestAcrRegistryInfo(
                instance_id="cri-1", region_id=REGION, domain=["a.example.com", "b.example.com"]
            )
        ],
        tag=[
            models.CreateImageCacheRequestTag(key="managed-by", value="operator"),
            models.CreateImageCacheRequestTag(key="text", value="ünï çödé & more=+ %"),
            models.CreateImageCacheRequestTag(key="empty", value=""),
        ],
    )
    for field, value in changes.items():
        setattr(request, field, value)
    return request


def create(client, *args, **kwargs):
    return client.create_image_cache_with_options(create_request(*args, **kwargs), options()).body


def describe(client, **filters):
    request = models.DescribeImageCachesRequest(region_id=REGION, **filters)
    return client.describe_image_caches_with_options(request, options()).body


def update(client, image_cache_id, **changes):
    request = models.UpdateImageCacheRequest(region_id=REGION, image_cache_id=image_cache_id, **changes)
    return client.update_image_cache_with_options(request, options()).body


def delete(client, image_cache_id, token=None):
    request = models.DeleteImageCacheRequest(
        region_id=REGION, image_cache_id=image_cache_id, client_token=token
    )
    return client.delete_image_cache_with_options(request, options()).body


def usage(client):
    return client.list_usage_with_options(models.ListUsageRequest(region_id=REGION), options()).body


def create_data_request(path="/model/test", token=None, **changes):
    """A create call of a data cache; the SDK does not add the length to the keys of options by itself."""
    request = models.CreateDataCacheRequest(
        region_id=REGION,
        client_token=token,
        bucket="default",
        path=path,
        name="dc-1",
        size=30,
        retention_days=7,
        security_group_id="sg-1",
        v_switch_id="vsw-1",
        data_source=models.CreateDataCacheRequestDataSource(
            type="URL", options={"#10#repoSource": "HuggingFace/Model", "#6#repoId": "stabilityai/sd-2-1"}
        ),
        eip_create_param=models.CreateDataCacheRequestEipCreateParam(
            bandwidth=10, isp="BGP", internet_charge_type="PayByTraffic"
        ),
        tag=[models.CreateDataCacheRequestTag(key="managed-by", value="operator")],
    )
    for name, value in changes.items():
        setattr(request, name, value)
    return request


def create_data(client, *args, **kwargs):
    return client.create_data_cache_with_options(create_data_request(*args, **kwargs), options()).body


def describe_data(client, **filters):
    request = models.DescribeDataCachesRequest(region_id=REGION, **filters)
    return client.describe_data_caches_with_options(request, options()).body


def update_data(client, data_cache_id, **changes):
    request = models.UpdateDataCacheRequest(region_id=REGION, data_cache_id=data_cache_id, **changes)
    return client.update_data_cache_with_options(request, options()).body


def delete_data(client, token=None, **which):
    request = models.DeleteDataCacheRequest(region_id=REGION, client_token=token, **which)
    return client.delete_data_cache_with_options(request, options()).body


def refused(call, code, kind=ClientException, status=None):
    """The exception of a call that must fail with this code and kind of exception."""
    try:
        call()
    except DaraException as error:
        expect(error.code, code, "code of the error")
        if not isinstance(error, kind):
            raise Failed(f"{code} was raised as {type(error).__name__} instead of {kind.__name__}") from error
        if status is not None:
            expect(error.status_code, status, "HTTP status of the error")
        return error
    raise Failed(f"nothing was raised instead of {code}")


def check_create(bench):
    """Create, and what the simulator understood of it."""
    client = bench.client()
    answer = create(client, token="token-1")
    if not answer.image_cache_id.startswith("imc-") or not answer.container_group_id.startswith("eci-"):
        raise Failed(f"strange IDs: {answer}")
    yield "create answers with the IDs of the cache and of its instance"

    (entry,) = bench.admin("GET", "ledger")
    spec = entry["effect"]["created"]["spec"]
    expect(entry["effect"]["created"]["token"], "token-1", "token")
    expect(spec["images"], ["private.example.com/app:1.0", "mirror.example.com/library/nginx:1.27"], "images")
    expect((spec["sizeGib"], spec["retentionDays"], spec["standardCopies"]), (25, 7, 2), "numbers")
    expect((spec["autoMatch"], spec["flash"]), (True, False), "booleans")
    expect(spec["vSwitchIds"], ["vsw-1", "vsw-2"], "vSwitches")
    expect(spec["insecureRegistries"], ["self.example.com", "other.example.com"], "insecure registries")
    expect(spec["plainHttpRegistries"], ["plain.example.com:5000"], "plain HTTP registries")
    expect(spec["acrInstances"][0]["domains"], ["a.example.com", "b.example.com"], "nested list")
    wanted = {"managed-by": "operator", "text": "ünï çödé & more=+ %", "empty": ""}
    expect(spec["tags"], wanted, "tags")
    yield "every parameter of create arrives as it was given"

    (request,) = bench.admin("GET", "requests")["CreateImageCache"]
    if "made-up-password" in json.dumps(request) or "p@ss" in json.dumps(request):
        raise Failed("the simulator shows a password")
    yield "the simulator shows requests without passwords"

    again = create(client, token="token-1")
    expect(again.image_cache_id, answer.image_cache_id, "ID")
    refused(lambda: create(client, name="another", token="token-1"), "IdempotentParameterMismatch")
    expect(len(bench.admin("GET", "ledger")), 1, "caches made")
    yield "a repeated token makes nothing twice, and with another request it is refused"


def check_life(bench):
    """The states of a cache, from its build to its end, as the SDK's models show them."""
    client = bench.client()
    image_cache_id = create(client).image_cache_id

    def look():
        (cache,) = describe(client, image_cache_id=image_cache_id).image_caches
        return cache

    expect(look().status, "Preparing", "status")
    bench.advance(BUILD)
    cache = look()
    expect((cache.status, cache.progress), ("Ready", "100%"), "status and progress")
    expect((cache.image_cache_name, cache.image_cache_size), ("cache-one", 25), "name and size")
    expect((cache.region_id, cache.elimination_strategy), (REGION, "LRU"), "region and strategy")
    expect({tag.key: tag.value for tag in cache.tags}["managed-by"], "operator", "tag")
    if not (cache.snapshot_id and cache.container_group_id):
        raise Failed("a Ready cache has no snapshot or no instance")
    created = datetime.strptime(cache.creation_time, "%Y-%m-%dT%H:%M:%SZ")
    expires = datetime.strptime(cache.expire_date_time, "%Y-%m-%dT%H:%M:%SZ")
    expect((expires - created).days, 7, "days until it expires")
    event = cache.events[0]
    expect((event.type, event.reason, event.count), ("Normal", "Pulling", 1), "first event")
    yield "describe shows every field of a Ready cache"

    refused(lambda: update(client, image_cache_id), "NoNeedUpdate", status=400)
    tags = [models.UpdateImageCacheRequestTag(key="k", value="v")]
    update(client, image_cache_id, retention_days=9, elimination_strategy="", tag=tags)
    expect(look().status, "Updating", "status")
    refused(lambda: update(client, image_cache_id, retention_days=10), "ImageCache.IncorrectStatus")
    bench.advance(UPDATE)
    cache = look()
    expect((cache.status, [tag.key for tag in cache.tags]), ("Ready", ["k"]), "status and tags")
    yield "update changes a cache in place, only when it is settled and something changes"

    delete(client, image_cache_id, token="delete-1")
    delete(client, image_cache_id, token="delete-1")
    expect(describe(client, image_cache_id=image_cache_id).image_caches, [], "caches")
    yield "delete removes a cache and may be repeated; an unknown ID is an empty list"

    failed = create(client, image=["mirror.example.com/nonexistent:1"]).image_cache_id
    bench.advance(BUILD)
    (cache,) = describe(client, image_cache_id=failed).image_caches
    expect(cache.status, "Failed", "status")
    expect((cache.events[-1].type, cache.events[-1].reason), ("Warning", "Failed"), "last event")
    yield "a build that cannot pull fails with a warning"


def check_lists(bench):
    """Pages and filters."""
    client = bench.client()
    for number in range(45):
        tag = [models.CreateImageCacheRequestTag(key="parity", value=str(number % 2))]
        image = ["mirror.example.com/a:1"] if number else ["mirror.example.com/b:1"]
        create(client, name=f"cache-{number}", tag=tag, image=image, resource_group_id=f"rg-{number % 3}")
    seen, sizes, token = [], [], None
    while token != "":
        page = describe(client, limit=20, next_token=token)
        expect(page.total_count, 45, "total")
        seen += [cache.image_cache_id for cache in page.image_caches]
        sizes.append(len(page.image_caches))
        token = page.next_token or ""
    expect((sizes, len(set(seen))), ([20, 20, 5], 45), "pages")
    yield "pages are complete and without doubles"

    bench.advance(BUILD)
    (one,) = describe(client, image_cache_name="cache-7").image_caches
    for what, filters, count in [
        ("name", {"image_cache_name": "cache-7"}, 1),
        ("ID", {"image_cache_id": one.image_cache_id}, 1),
        ("snapshot", {"snapshot_id": one.snapshot_id}, 1),
        ("image", {"image": "mirror.example.com/b:1"}, 1),
        ("resource group", {"resource_group_id": "rg-0"}, 15),
        ("tag", {"tag": [models.DescribeImageCachesRequestTag(key="parity", value="1")]}, 22),
        ("unknown tag", {"tag": [models.DescribeImageCachesRequestTag(key="parity", value="2")]}, 0),
        ("matching image", {"match_image": ["mirror.example.com/b:1"], "image_full_match": True}, 1),
    ]:
        expect(describe(client, **filters).total_count, count, f"caches by {what}")
        yield f"describe filters by {what}"
    refused(lambda: describe(client, next_token="nonsense"), "InvalidParameter")
    yield "a page token that was never given is refused"


def check_tags(bench):
    """Tags of resources."""
    client = bench.client()
    image_cache_id = create(client, tag=None).image_cache_id
    resource = {"region_id": REGION, "resource_type": "ImageCache", "resource_id": [image_cache_id]}

    def tags():
        request = models.ListTagResourcesRequest(**resource)
        found = client.list_tag_resources_with_options(request, options()).body.tag_resources
        return {tag.tag_key: tag.tag_value for tag in found}

    wanted = [models.TagResourcesRequestTag(key=key, value=value) for key, value in [("a", "1"), ("b/c", "")]]
    client.tag_resources_with_options(models.TagResourcesRequest(tag=wanted, **resource), options())
    expect(tags(), {"a": "1", "b/c": ""}, "tags")
    changed = [models.TagResourcesRequestTag(key="a", value="2")]
    client.tag_resources_with_options(models.TagResourcesRequest(tag=changed, **resource), options())
    expect(tags()["a"], "2", "tag")
    yield "tags are added and overwritten"
    client.untag_resources_with_options(models.UntagResourcesRequest(tag_key=["a"], **resource), options())
    expect(tags(), {"b/c": ""}, "tags")
    client.untag_resources_with_options(models.UntagResourcesRequest(all=True, **resource), options())
    expect(tags(), {}, "tags")
    yield "tags are removed by key, and all at once"
    resource["resource_id"] = ["imc-unknown"]
    request = models.TagResourcesRequest(tag=changed, **resource)
    refused(lambda: client.tag_resources_with_options(request, options()), "InvalidParameter.NotFound", status=404)
    yield "tagging an unknown cache is refused"


def check_data_caches(bench):
    """The life of a data cache, found by ID, by bucket and path, and by tags."""
    client = bench.client()
    answer = create_data(client, token="data-1")
    expect(create_data(client, token="data-1").data_cache_id, answer.data_cache_id, "ID of the repeated call")
    refused(lambda: create_data(client, path="/other", token="data-1"), "IdempotentParameterMismatch")
    yield "create can be repeated with its token"
    refused(lambda: create_data(client), "DataCache.PathExists", status=400)
    refused(lambda: create_data(client, bucket="eci-system"), "InvalidParameter", status=400)
    plain = models.CreateDataCacheRequestDataSource(type="URL", options={"url": "https://example.com/a"})
    refused(lambda: create_data(client, path="/plain", data_source=plain), "InvalidParameter", status=400)
    bench.admin("POST", "settings", {"optionKeys": "plain"})
    create_data(client, path="/plain", data_source=plain)
    bench.admin("POST", "settings", {"optionKeys": "lengthPrefixed"})
    yield "one bucket and path has one cache, and keys of options are written as the switch says"

    def look():
        (cache,) = describe_data(client, data_cache_id=[answer.data_cache_id]).data_caches
        return cache

    expect(look().status, "Loading", "status")
    bench.advance(BUILD)
    cache = look()
    expect((cache.status, cache.progress), ("Available", "100%"), "status and progress")
    expect((cache.bucket, cache.path, cache.name, cache.size), ("default", "/model/test", "dc-1", 30), "cache")
    expect(cache.data_source.type, "URL", "type of the source")
    source = json.loads(cache.data_source.options)
    expect(source["options"]["repoId"], "stabilityai/sd-2-1", "an option of the source, which is JSON text")
    if not (cache.snapshot_id and cache.container_group_id):
        raise Failed("an Available cache has no snapshot or no instance")
    (found,) = describe_data(client, bucket="default", path="/model/test").data_caches
    expect(found.data_cache_id, answer.data_cache_id, "the cache at the path")
    tag = [models.DescribeDataCachesRequestTag(key="managed-by", value="operator")]
    expect(describe_data(client, tag=tag, limit=1).total_count, 2, "caches with the tag")
    yield "describe shows every field, by ID, by bucket and path, and by tag"

    refused(lambda: update_data(client, answer.data_cache_id), "NoNeedUpdate", status=400)
    update_data(client, answer.data_cache_id, retention_days=9)
    expect(look().status, "Updating", "status")
    refused(lambda: update_data(client, answer.data_cache_id, retention_days=10), "IncorrectStatus")
    bench.advance(UPDATE)
    expect(look().status, "Available", "status")
    yield "update changes a cache in place, only when it is settled and something changes"

    attributes = usage(client).attributes
    expect((attributes["MaxDataCacheCount"], attributes["UsedDataCacheCount"]), (100, 2), "usage")
    delete_data(client, data_cache_id=answer.data_cache_id)
    expect(describe_data(client, data_cache_id=[answer.data_cache_id]).data_caches, [], "caches")
    delete_data(client, bucket="default", path="/plain")
    expect(describe_data(client).data_caches, [], "caches")
    yield "delete removes a cache by ID, or by bucket and path"


def check_account(bench):
    """Usage, quota and regions."""
    client = bench.client()
    bench.admin("POST", "settings", {"maxImageCaches": 1})
    create(client)
    attributes = usage(client).attributes
    expect((attributes["MaxImageCacheCount"], attributes["UsedImageCacheCount"]), (1, 1), "usage")
    yield "usage counts caches against the quota"
    error = refused(lambda: create(client), "QuotaExceeded", status=403)
    if not error.request_id:
        raise Failed("the error has no request ID")
    yield "a full quota is refused with 403 and a request ID"
    request = models.DescribeRegionsRequest()
    (region,) = client.describe_regions_with_options(request, options()).body.regions
    expect(region.region_id, REGION, "region")
    yield "regions are listed"


def spot_prices(client, **changes):
    """One page of DescribeSpotPriceHistory."""
    parameters = {"region_id": REGION, "network_type": "vpc", "instance_type": "ecs.c6.xlarge", **changes}
    request = ecs_models.DescribeSpotPriceHistoryRequest(**parameters)
    return client.describe_spot_price_history_with_options(request, options()).body


def spot_advice(client, **changes):
    request = ecs_models.DescribeSpotAdviceRequest(region_id=REGION, **changes)
    return client.describe_spot_advice_with_options(request, options()).body


def check_market(bench):
    """The spot market: another product's SDK, at the same address."""
    for scheme in ("v3", "v1"):
        page = spot_prices(bench.client(scheme, of=EcsClient), zone_id="cn-hangzhou-b")
        points = page.spot_prices.spot_price_type
        expect((page.currency, len(points) in (3, 4), page.next_offset), ("CNY", True, 0), "the last three hours")
        point = points[0]
        expect((point.instance_type, point.zone_id), ("ecs.c6.xlarge", "cn-hangzhou-b"), "type and zone")
        expect((point.network_type, point.io_optimized), ("vpc", "optimized"), "words")
        if not 0 < point.spot_price <= point.origin_price:
            raise Failed(f"strange prices: {point}")
        datetime.strptime(point.timestamp, "%Y-%m-%dT%H:%M:%SZ")
    yield "prices of the last three hours, with both signatures"

    client = bench.client(of=EcsClient)
    written = "%Y-%m-%dT%H:%M:%SZ"
    end = datetime.strptime(bench.admin("GET", "healthz")["now"][:19], "%Y-%m-%dT%H:%M:%S")
    window = {"start_time": (end - timedelta(days=30)).strftime(written), "end_time": end.strftime(written)}
    seen, offset = [], None
    while offset != 0:
        page = spot_prices(client, offset=offset, **window)
        seen += [(point.zone_id, point.timestamp) for point in page.spot_prices.spot_price_type]
        offset = page.next_offset
    expect(len(set(seen)), len(seen), "prices that are there once")
    if not 3 * 719 <= len(seen) <= 3 * 721:
        raise Failed(f"{len(seen)} prices of 30 days in three zones")
    yield "prices of 30 days come in pages"

    zones = spot_advice(client, cores=4, memory=8).available_spot_zones.available_spot_zone
    expect([zone.zone_id for zone in zones], [f"cn-hangzhou-{end}" for end in "abc"], "zones")
    resource = zones[0].available_spot_resources.available_spot_resource[0]
    if not (1 <= resource.average_spot_discount <= 100 and 0 <= resource.interruption_rate <= 100):
        raise Failed(f"strange advice: {resource}")
    expect(resource.interrupt_rate_desc in ("0-3%", "3-5%", "5-10%", "10-100%"), True, "range")
    yield "advice by size"

    refused(lambda: spot_prices(client, instance_type="ecs.none.large"), "InvalidInstanceType.ValueNotSupported")
    refused(lambda: spot_prices(client, zone_id="cn-hangzhou-z"), "InvalidZoneId.NotFound", status=400)
    refused(lambda: spot_advice(client, cores=4), "InvalidParam.Memory", status=403)
    yield "what cannot be asked is refused"


def check_errors(bench):
    """Errors and faults, as the SDK raises them."""
    client = bench.client()
    refused(lambda: create(client, name=None), "MissingParameter")
    refused(lambda: create(client, image_cache_size=5), "InvalidParameter")
    yield "wrong parameters are client errors"
    for fault, code, kind, status in [
        ({"error": {"code": "Throttling.User", "retryAfterMs": 1500}}, "Throttling.User", ThrottlingException, 400),
        ({"error": {"code": "InternalError"}}, "InternalError", ServerException, 500),
        ({"error": {"code": "OperationDenied.NoStock"}}, "OperationDenied.NoStock", ClientException, 403),
    ]:
        bench.admin("POST", "faults", {"action": "ListUsage", "next": 1, "answer": fault})
        error = refused(lambda: usage(client), code, kind, status)
        if kind is ThrottlingException:
            expect(error.retry_after, 1500, "milliseconds to wait")
        yield f"{code} is raised as {kind.__name__}"
    for seen in ("closed", {"silence": 100}, "truncated", {"notJson": 502}):
        effect = {"action": "CreateImageCache", "next": 1, "effect": "now", "answer": seen}
        bench.admin("POST", "faults", effect)
        token = f"token-{json.dumps(seen)}".replace(" ", "")
        try:
            create(client, token=token)
        except Exception:  # noqa: BLE001 - the SDK raises what its transport raises
            pass
        else:
            raise Failed(f"nothing was raised for {seen}")
        create(client, token=token)
        made = [e for e in bench.admin("GET", "ledger") if e["effect"]["created"]["token"] == token]
        expect(len(made), 1, f"caches made when the answer was {seen}")
        yield f"a lost answer ({json.dumps(seen)}) raises, and the same token makes no second cache"


def check_credentials(bench):
    """Keys, tokens, and both signatures."""
    for scheme in ("v3", "v1"):
        client = bench.client(scheme)
        answer = create(client, token=f"token-{scheme}")
        expect(describe(client, image_cache_id=answer.image_cache_id).total_count, 1, "caches")
        yield f"signature {scheme}: parameters of every kind are accepted"

        bench.admin("POST", "keys", {"id": "FAKE-STS", "secret": "FAKE-STS-SECRET", "securityToken": "FAKE/+= TOKEN"})
        temporary = {"scheme": scheme, "key_id": "FAKE-STS", "key_secret": "FAKE-STS-SECRET"}
        usage(bench.client(token="FAKE/+= TOKEN", **temporary))
        wrong = bench.client(token="FAKE-OTHER", **temporary)
        refused(lambda: usage(wrong), "InvalidSecurityToken.Malformed")
        yield f"signature {scheme}: a temporary key needs its token"

        wrong = bench.client(scheme, key_secret="FAKE-WRONG")
        refused(lambda: usage(wrong), "SignatureDoesNotMatch", status=400)
        wrong = bench.client(scheme, key_id="FAKE-NOBODY")
        refused(lambda: usage(wrong), "InvalidAccessKeyId.NotFound", status=404)
        yield f"signature {scheme}: a wrong secret and an unknown key are refused"

        bench.admin("POST", "keys", {"id": "FAKE-STS", "state": "denied"})
        denied = bench.client(token="FAKE/+= TOKEN", **temporary)
        refused(lambda: usage(denied), "NoPermission", status=403)
        yield f"signature {scheme}: a key without permission is refused"


def check_same_request(bench):
    """One call of each action with all that both the SDK and the operator's client can say.

    The Rust half (e2e/tests/sdk) sends the same calls with the client afterwards, and compares what the simulator
    decoded of both. It expects this group to be the last that ran.
    """
    client = bench.client()
    acr = models.CreateImageCacheRequestAcrRegistryInfo(
        instance_id="cri-1",
        instance_name="team",
        region_id="cn-beijing",
        domain=["a.example.com", "b.example.com"],
        arn_service="acs:ram::1:role/x",
        arn_user="acs:ram::2:role/y",
    )
    pairs = [("empty", ""), ("k/x", "v +&=%"), ("team", "a"), ("ünï", "中")]
    image_cache_id = create(
        client,
        name="a b+ü/%7E*~",
        token="create-everything",
        eip_instance_id="eip-1",
        resource_group_id="rg-1",
        flash=True,
        flash_copy_count=3,
        acr_registry_info=[acr],
        tag=[models.CreateImageCacheRequestTag(key=key, value=value) for key, value in pairs],
    ).image_cache_id
    for number in range(20):
        request = models.CreateImageCacheRequest(
            region_id=REGION,
            image_cache_name="little",
            client_token=f"create-{number}",
            image=["mirror.example.com/a:1"],
            image_cache_size=20,
            flash=False,
            tag=[models.CreateImageCacheRequestTag(key="team", value="a")],
        )
        client.create_image_cache_with_options(request, options())
    yield "create, with everything on and with little"

    team = [models.DescribeImageCachesRequestTag(key="team", value="a")]
    token = describe(client, tag=team, limit=20).next_token
    expect(len(describe(client, tag=team, limit=20, next_token=token).image_caches), 1, "caches on the second page")
    bench.advance(BUILD)
    (cache,) = describe(client, image_cache_id=image_cache_id, limit=20).image_caches
    expect(cache.status, "Ready", "status")
    yield "describe by tags in pages, and by ID"

    resource = {"region_id": REGION, "resource_type": "ImageCache", "resource_id": [image_cache_id]}
    tags = [models.TagResourcesRequestTag(key=key, value=value) for key, value in [("a/b", "1 +"), ("z", "")]]
    client.tag_resources_with_options(models.TagResourcesRequest(tag=tags, **resource), options())
    keys = ["a/b", "z"]
    client.untag_resources_with_options(models.UntagResourcesRequest(tag_key=keys, **resource), options())
    update(
        client,
        image_cache_id,
        client_token="update-1",
        retention_days=9,
        elimination_strategy="",
        standard_copy_count=4,
        flash_copy_count=5,
        resource_group_id="rg-2",
        tag=[models.UpdateImageCacheRequestTag(key="k", value="v")],
    )
    usage(client)
    delete(client, image_cache_id, token="delete-1")
    yield "tag, untag, update, usage and delete"

    pairs = [("empty", ""), ("k/x", "v +&=%"), ("team", "a")]
    source = models.CreateDataCacheRequestDataSource(
        type="URL",
        options={"#11#accessToken": "made-up-token", "#3#url": "https://example.com/private/a?b=c&d=%20"},
    )
    eip = models.CreateDataCacheRequestEipCreateParam(
        bandwidth=10,
        common_bandwidth_package="cbwp-1",
        isp="BGP_PRO",
        internet_charge_type="PayByBandwidth",
        public_ip_address_pool_id="pippool-1",
    )
    data_cache_id = create_data(
        client,
        path="/a b/ü",
        token="data-everything",
        bucket="models",
        data_source=source,
        eip_create_param=eip,
        resource_group_id="rg-1",
        tag=[models.CreateDataCacheRequestTag(key=key, value=value) for key, value in pairs],
    ).data_cache_id
    team = [models.DescribeDataCachesRequestTag(key="team", value="a")]
    describe_data(client, tag=team, limit=20)
    describe_data(client, bucket="models", path="/a b/ü", limit=20)
    bench.advance(BUILD)
    (cache,) = describe_data(client, data_cache_id=[data_cache_id], limit=20).data_caches
    expect(cache.status, "Available", "status")
    resource = {"region_id": REGION, "resource_type": "DataCache", "resource_id": [data_cache_id]}
    client.tag_resources_with_options(models.TagResourcesRequest(tag=tags, **resource), options())
    client.untag_resources_with_options(models.UntagResourcesRequest(tag_key=keys, **resource), options())
    update_data(
        client,
        data_cache_id,
        client_token="update-2",
        retention_days=9,
        resource_group_id="rg-2",
        tag=[models.UpdateDataCacheRequestTag(key="k", value="v")],
    )
    delete_data(client, data_cache_id=data_cache_id, token="delete-2")
    yield "data caches: create, describe in every way, tag, untag, update and delete"

    client = bench.client(of=EcsClient)
    history = {"instance_type": "ecs.c6.xlarge", "ostype": "linux", "spot_duration": 0, "zone_id": "cn-hangzhou-b"}
    window = {"start_time": "2026-01-02T03:04:05Z", "end_time": "2026-01-30T03:04:05Z"}
    spot_prices(client, offset=7, **history, **window)
    spot_advice(client, cores=4, memory=8)
    spot_advice(client, instance_types=["ecs.c6.xlarge", "ecs.c7.xlarge"], zone_id="cn-hangzhou-b")
    yield "spot prices and advice"


GROUPS = {
    "create": check_create,
    "life": check_life,
    "lists": check_lists,
    "tags": check_tags,
    "data-caches": check_data_caches,
    "account": check_account,
    "market": check_market,
    "errors": check_errors,
    "credentials": check_credentials,
    "same-request": check_same_request,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoint", required=True, help="the simulator, http://127.0.0.1:PORT")
    parser.add_argument("--access-key-id", default="FAKE-ACCESS-KEY-ID", help="as given to the simulator")
    parser.add_argument("--access-key-secret", default="FAKE-ACCESS-KEY-SECRET", help="as given to the simulator")
    parser.add_argument("--only", choices=GROUPS, action="append", help="only this group of checks; may be repeated")
    arguments = parser.parse_args()
    bench = Bench(arguments.endpoint, arguments.access_key_id, arguments.access_key_secret)
    passed, failed = 0, 0
    for name in arguments.only or GROUPS:
        try:
            bench.admin("POST", "reset")
        except (urllib.error.URLError, OSError) as error:
            print(f"the simulator at {bench.endpoint} cannot be used: {error}", file=sys.stderr)
            return 2
        try:
            for check in GROUPS[name](bench):
                passed += 1
                print(f"ok   {name}: {check}", flush=True)
        except Exception as error:  # noqa: BLE001 - whatever is raised, the group failed
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
