// The life cycle of a person with the client that openapi-fetch makes of the types of openapi-typescript:
// life_cycle.js URL KEY GIST. The service tracks grace, whose gist GIST was rejected.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Errors = components["schemas"]["BadRequest"] | components["schemas"]["ClientErrorResponse"];

const [url, key, gistId] = process.argv.slice(2) as [string, string, string];
const client = createClient<paths, "application/json">({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });
const ada = { params: { path: { username: "ada" } } };
const grace = { params: { path: { username: "grace" } } };
const gist = { params: { path: { username: "grace", github_id: gistId } } };

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

function codeOf(error: Errors | components["schemas"]["ServerErrorResponse"] | undefined): string {
  check(error !== undefined, "an error was expected");
  return error.errors[0]?.code ?? "";
}

async function track(): Promise<void> {
  const body = { username: "@ada", backfill: "none" };
  const created = await client.POST("/api/v1/people", { body });
  check(created.data?.github_username === "ada" && created.data.state === "new", "ada is tracked");

  const refused = await client.POST("/api/v1/people", { body });
  check(refused.response.status === 400 && refused.error?.type === "validation_error", "a typed error");
  check(refused.error.errors[0]?.code === "already_tracked", "ada is already tracked");
  check(refused.error.errors[0].person_url === created.response.headers.get("Location"), "the address of ada");

  const bulk = await client.POST("/api/v1/people/bulk", { body: ["ada", { username: "ben" }, "a b"] });
  const codes = bulk.data?.results.map((row) => row.code);
  check(JSON.stringify(codes) === '["already_tracked",null,"invalid_login"]', "the codes of rows");
}

async function read(): Promise<void> {
  const people = await client.GET("/api/v1/people", { params: { query: { search: "grace", page_size: 5 } } });
  check(people.data?.results[0]?.rejected_count === 1, "grace is listed");

  const visit = await client.GET("/api/v1/people/{username}", grace);
  check(visit.data?.gists.length === 1, "the first visit");
  check((await client.GET("/api/v1/people/{username}", grace)).data?.gists.length === 0, "the second visit");

  const gists = await client.GET("/api/v1/people/{username}/gists", grace);
  check(gists.data?.results[0]?.github_id === visit.data.gists[0]?.github_id, "the gists of grace");
  const feed = await client.GET("/api/v1/gists");
  check(feed.data !== undefined && feed.data.results[0]?.person === "grace", "the feed");
  const marker = await client.POST("/api/v1/feed/ack", { body: { cursor: feed.data.cursor, force: false } });
  check(marker.data?.cursor === (await client.GET("/api/v1/me")).data?.feed_cursor, "the marker of the feed");
}

async function change(): Promise<void> {
  const changed = await client.PATCH("/api/v1/people/{username}", { ...ada, body: { backfill: "all" } });
  check(changed.data?.backfill === "all", "all gists of ada are exported");
  const asked = await client.POST("/api/v1/people/{username}/sync", ada);
  check(typeof asked.data?.sync_requested_at === "string", "a sync is requested");
  await client.PATCH("/api/v1/people/{username}", { ...ada, body: { state: "paused" } });
  check(codeOf((await client.POST("/api/v1/people/{username}/sync", ada)).error) === "paused", "ada is paused");

  const pushed = await client.POST("/api/v1/people/{username}/gists/{github_id}/push", gist);
  check(pushed.data?.push_state === "pending", "the gist is pending");
  const again = await client.POST("/api/v1/people/{username}/gists/{github_id}/push", gist);
  check(codeOf(again.error) === "gist_not_pushable", "the gist is not pushed twice");
  const attempts = await client.GET("/api/v1/people/{username}/gists/{github_id}/attempts", gist);
  check(attempts.data?.count === 0, "there are no attempts");
}

async function lookAtTheSync(): Promise<void> {
  check((await client.GET("/api/v1/status")).data?.backlog === 1, "the status");
  const run = (await client.GET("/api/v1/sync-runs")).data?.results[0];
  check(run !== undefined, "a run");
  const found = await client.GET("/api/v1/sync-runs/{id}", { params: { path: { id: run.id } } });
  check(found.data?.outcome === "succeeded", "the run succeeded");
}

async function untrack(): Promise<void> {
  check((await client.DELETE("/api/v1/people/{username}", ada)).response.status === 204, "ada is deleted");
  const gone = await client.GET("/api/v1/people/{username}", ada);
  check(gone.response.status === 404 && codeOf(gone.error) === "not_tracked", "ada is not tracked");
}

await track();
await read();
await change();
await lookAtTheSync();
await untrack();
