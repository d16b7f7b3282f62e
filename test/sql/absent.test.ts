import { expect, it, vi } from "vitest";
import { sqlResults } from "../../src/sql/query.js";

vi.mock("@duckdb/node-api", () => {
  throw new Error("Cannot find package '@duckdb/node-api'");
});

it("SQL without its package says how to add it", async () => {
  await expect(sqlResults([], "SELECT 1")).rejects.toMatchObject({
    code: "NO_DATABASE",
    hint: expect.stringContaining("npm install @duckdb/node-api"),
  });
});
