/** TableStore: rows and their mark move together; a view stands still. */
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { TableStore } from "../../../src/storage/index.ts"
import { confStateOf } from "../../support/log-samples.ts"
import { collect, inPortions, type Machine, machines } from "./machines.ts"

const marked = (index: number) => ({ index, term: 1, confState: confStateOf(1) })
const put = (key: string, value: string) => ({ key, value })
const remove = (key: string) => ({ key, value: undefined })

describe.each(machines)("TableStore, $kind", ({ make }) => {
  let machine: Machine
  let tables: TableStore
  beforeEach(async () => {
    machine = await make()
    tables = machine.stores().tables
    expect(await tables.open()).toBeUndefined()
  })
  afterEach(async () => {
    await tables.close()
    await machine.dispose()
  })
  async function reopen() {
    await tables.close()
    tables = machine.stores().tables
    return await tables.open()
  }

  test("rows, keys in order, prefixes, deletes", async () => {
    await tables.write([put("b/2", "two"), put("a/1", "one")], marked(1), { sync: false })
    await tables.write([put("b/1", "ä\u{1f600}"), put("c", "x")], marked(2), { sync: true })
    await tables.write([remove("c"), remove("never there")], marked(3), { sync: false })
    expect(await collect(tables.rows())).toEqual([
      ["a/1", "one"],
      ["b/1", "ä\u{1f600}"],
      ["b/2", "two"],
    ])
    expect((await collect(tables.rows("b/"))).map(([key]) => key)).toEqual(["b/1", "b/2"])
    expect(await tables.get("b/2")).toBe("two")
    expect(await tables.get("c")).toBeUndefined()
    expect(await reopen()).toMatchObject(marked(3))
    expect((await collect(tables.rows())).length).toBe(3)
  })

  test("the hash is of the rows, however they came to be", async () => {
    await tables.write([put("x", "1"), put("y", "2")], marked(1), { sync: false })
    await tables.write([put("x", "3"), put("x", "4"), put("z", "5")], marked(2), { sync: false })
    await tables.write([remove("z")], marked(3), { sync: false })
    const one = (await tables.view()).mark.hash
    await tables.replace(inPortions(["y", "2"] as const, ["x", "4"] as const), marked(9))
    const other = await tables.view()
    expect(other.mark.hash).toBe(one)
    await tables.write([put("x", "2"), put("y", "4")], marked(10), { sync: false })
    expect((await tables.view()).mark.hash).not.toBe(one)
  })

  test("C-29: the hash that is asked for is of all writes before, and as in the mark", async () => {
    void tables.write([put("x", "1"), put("y", "2")], marked(1), { sync: false })
    void tables.write([put("x", "3")], marked(2), { sync: false })
    const hash = await tables.hash()
    expect((await tables.view()).mark).toMatchObject({ ...marked(2), hash })
    await tables.write([put("x", "4")], marked(3), { sync: false })
    expect(await tables.hash()).not.toBe(hash)
  })

  test("C-29: what was put aside is not opened again", async () => {
    await tables.write([put("x", "1")], marked(1), { sync: true })
    for (const value of ["first", "second"]) {
      await tables.setAside()
      tables = machine.stores().tables
      expect(await tables.open()).toBeUndefined()
      expect(await collect(tables.rows())).toEqual([])
      await tables.write([put("x", value)], marked(1), { sync: true })
    }
    expect(await reopen()).toMatchObject(marked(1))
    expect(await tables.get("x")).toBe("second")
  })

  test("a view stands still while writes go on", async () => {
    const rows = Array.from({ length: 1500 }, (_, number) => put(`k${1000 + number}`, "before"))
    await tables.write(rows, marked(1), { sync: false })
    const view = await tables.view()
    const seen: string[] = []
    for await (const [key, value] of view.rows) {
      if (seen.length === 10) {
        const later = rows.map(({ key: name }) => put(name, "after"))
        await tables.write([...later, put("new", "after")], marked(2), { sync: false })
      }
      expect(value).toBe("before")
      seen.push(key)
    }
    expect(seen.length).toBe(1500)
    expect(view.mark.index).toBe(1)
    expect(await tables.get("new")).toBe("after")
  })

  test("writes that are not waited for keep their order", async () => {
    await Promise.all(
      Array.from({ length: 50 }, (_, number) =>
        tables.write([put("last", `${number}`), put(`n${number}`, "")], marked(number + 1), {
          sync: number % 7 === 0,
        }),
      ),
    )
    expect(await reopen()).toMatchObject({ index: 50 })
    expect(await tables.get("last")).toBe("49")
    expect((await collect(tables.rows("n"))).length).toBe(50)
  })

  test("replacing leaves only the new rows, also after opening again", async () => {
    await tables.write([put("old", "1")], marked(1), { sync: true })
    await tables.replace(inPortions(["new", "2"] as const), marked(7))
    expect(await collect(tables.rows())).toEqual([["new", "2"]])
    await tables.write([put("more", "3")], marked(8), { sync: true })
    expect(await reopen()).toMatchObject(marked(8))
    expect((await collect(tables.rows())).map(([key]) => key)).toEqual(["more", "new"])
  })

  test("a source that fails in the middle leaves all as it was", async () => {
    await tables.write([put("old", "1")], marked(1), { sync: true })
    const failing = (async function* () {
      yield ["new", "2"] as const
      throw new Error("the snapshot is damaged")
    })()
    await expect(tables.replace(failing, marked(7))).rejects.toThrow("the snapshot is damaged")
    expect(await collect(tables.rows())).toEqual([["old", "1"]])
    await tables.write([put("old", "2")], marked(2), { sync: false })
    expect(await reopen()).toMatchObject(marked(2))
  })
})
