/** The two file formats: what lines mean, and where they are wrong. */
import { expect, test } from "vitest"
import { FormatError, parseKvLog, parseRegisterLog } from "../../lincheck/index.ts"

const register = (...messages: readonly string[]) =>
  parseRegisterLog(messages.map((message) => `INFO  jepsen.util - ${message}`))

test("a register's log: calls, answers, failures and what stayed open", () => {
  const history = register(
    "0\t:invoke\t:read\tnil",
    "1\t:invoke\t:write\t3",
    "0\t:ok\t:read\tnil",
    "2\t:invoke\t:cas\t[3 4]",
    "1\t:ok\t:write\t3",
    "2\t:ok\t:cas\t[3 4]",
    "0\t:invoke\t:cas\t[0 1]",
    "0\t:fail\t:cas\t[0 1]",
    "1\t:invoke\t:write\t2",
    "1\t:info\t:write\t:timed-out",
    "2\t:invoke\t:read\tnil",
    "2\t:fail\t:read\t:timed-out",
    "0\t:invoke\t:cas\t[2 5]",
  )
  expect(history).toEqual([
    { client: 0, op: "read", input: undefined, invokedAt: 1, completedAt: 3, output: null },
    { client: 1, op: "write", input: 3, invokedAt: 2, completedAt: 5, output: undefined },
    { client: 2, op: "cas", input: { from: 3, to: 4 }, invokedAt: 4, completedAt: 6, output: true },
    {
      client: 0,
      op: "cas",
      input: { from: 0, to: 1 },
      invokedAt: 7,
      completedAt: 8,
      output: false,
    },
    { client: 1, op: "write", input: 2, invokedAt: 9, completedAt: undefined, output: undefined },
    {
      client: 0,
      op: "cas",
      input: { from: 2, to: 5 },
      invokedAt: 13,
      completedAt: undefined,
      output: undefined,
    },
  ])
})

test("other loggers, the nemesis and empty lines are passed over", () => {
  const lines = [
    "INFO  jepsen.core - Worker 3 starting",
    "",
    "INFO  jepsen.util - :nemesis\t:info\t:start\tnil",
    "INFO  jepsen.util - 0\t:invoke\t:write\t3",
  ]
  expect(parseRegisterLog(lines)).toHaveLength(1)
})

test("a process that calls again has given its last call up", () => {
  const history = register("0 :invoke :write 1", "0 :invoke :write 2", "0 :ok :write 2")
  expect(history.map(({ completedAt }) => completedAt)).toEqual([undefined, 3])
})

const kv = (...fields: readonly string[]) => parseKvLog(fields.map((field) => `{${field}}`))

test("a map's history: calls, answers, failures and what stayed open", () => {
  const history = kv(
    ':process 0, :type :invoke, :f :append, :key "4", :value "x \\"0\\" y"',
    ':process 0, :type :ok, :f :append, :key "4", :value "x \\"0\\" y"',
    ':process 1, :type :invoke, :f :get, :key "4", :value nil',
    ':process 2, :type :invoke, :f :put, :key "", :value ""',
    ':process 1, :type :ok, :f :get, :key "4", :value "x \\"0\\" y"',
    ':process 2, :type :info, :f :put, :key "", :value :timed-out',
    ':process 3, :type :invoke, :f :put, :key "4", :value "z"',
    ':process 3, :type :fail, :f :put, :key "4", :value "z"',
  )
  const text = 'x "0" y'
  expect(history).toEqual([
    {
      client: 0,
      op: "append",
      input: { key: "4", text },
      invokedAt: 1,
      completedAt: 2,
      output: undefined,
    },
    { client: 1, op: "get", input: { key: "4" }, invokedAt: 3, completedAt: 5, output: text },
    {
      client: 2,
      op: "put",
      input: { key: "", text: "" },
      invokedAt: 4,
      completedAt: undefined,
      output: undefined,
    },
  ])
})

const badRegisters: readonly [string, readonly string[], number][] = [
  ["an answer without a call", ["0 :ok :write 1"], 1],
  ["a second answer", ["0 :invoke :write 1", "0 :info :write :timed-out", "0 :ok :write 1"], 3],
  ["an answer to another call", ["0 :invoke :write 1", "0 :ok :read 1"], 2],
  ["an answer with another value", ["0 :invoke :write 1", "0 :ok :write 2"], 2],
  ["an answer with other values", ["0 :invoke :cas [1 2]", "0 :fail :cas [2 1]"], 2],
  ["a value that is none", ["0 :invoke :write one"], 1],
  ["a cas of one value", ["0 :invoke :cas [1]"], 1],
  ["a call that is none", ["0 :invoke :add 1"], 1],
  ["a read that found no value", ["0 :invoke :read nil", "0 :ok :read :timed-out"], 2],
]

test.each(badRegisters)("a register's log with %s says where", (_, messages, line) => {
  expect(() => register(...messages)).toThrow(
    expect.objectContaining({ line, name: "FormatError" }),
  )
})

const badMaps: readonly [string, readonly string[], number][] = [
  ["an answer without a call", [':process 0, :type :ok, :f :get, :key "1", :value ""'], 1],
  ["no key", [":process 0, :type :invoke, :f :get, :value nil"], 1],
  ["a call that is none", [':process 0, :type :invoke, :f :cas, :key "1", :value nil'], 1],
  [
    "a type that is none",
    [
      ':process 0, :type :invoke, :f :get, :key "1", :value nil',
      ':process 0, :type :done, :f :get, :key "1", :value ""',
    ],
    2,
  ],
  [
    "another key in the answer",
    [
      ':process 0, :type :invoke, :f :get, :key "1", :value nil',
      ':process 0, :type :ok, :f :get, :key "2", :value ""',
    ],
    2,
  ],
  [
    "a get that found no text",
    [
      ':process 0, :type :invoke, :f :get, :key "1", :value nil',
      ':process 0, :type :ok, :f :get, :key "1", :value nil',
    ],
    2,
  ],
  ["text without an end", [':process 0, :type :invoke, :f :get, :key "1'], 1],
  ["a process that is no number", [':process one, :type :invoke, :f :get, :key "1"'], 1],
  ["an escape that is none", [':process 0, :type :invoke, :f :get, :key "\\q", :value nil'], 1],
]

test.each(badMaps)("a map's history with %s says where", (_, fields, line) => {
  expect(() => kv(...fields)).toThrow(expect.objectContaining({ line, name: "FormatError" }))
})

test("a line of another kind says where", () => {
  expect(() => parseRegisterLog(["INFO  jepsen.util - 0 :invoke :read nil", "what?"])).toThrow(
    FormatError,
  )
  expect(() => parseKvLog(["what?"])).toThrow(FormatError)
})
