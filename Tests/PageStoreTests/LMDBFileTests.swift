internal import CLMDB
internal import Glibc
internal import TestSupport
internal import Testing
internal import VMTypes

@testable import PageStore

/// A data file made by LMDB itself, with tables, branches, large values and a free list.
private final class DataFile {
    let path = "/tmp/varve-lmdbfile-\(getpid())-\(UInt64.random(in: 0 ... .max))"

    deinit {
        unlink(path)
        unlink(path + "-lock")
    }

    /// Runs `count` transactions of random work, and `body` after each.
    func run(_ count: Int, _ random: inout SeededGenerator, after body: () throws -> Void = {}) throws {
        var environment: OpaquePointer?
        try #require(mdb_env_create(&environment) == MDB_SUCCESS)
        defer { mdb_env_close(environment) }
        mdb_env_set_maxdbs(environment, 8)
        mdb_env_set_mapsize(environment, 1 << 30)
        try #require(mdb_env_open(environment, path, UInt32(MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC), 0o600) == MDB_SUCCESS)
        for _ in 0..<count {
            var transaction: OpaquePointer?
            try #require(mdb_txn_begin(environment, nil, 0, &transaction) == MDB_SUCCESS)
            for name in ["records", "names", "outbox"] {
                var table = MDB_dbi()
                try #require(mdb_dbi_open(transaction, name, UInt32(MDB_CREATE), &table) == MDB_SUCCESS)
                for _ in 0..<Int.random(in: 0..<40, using: &random) { try step(transaction, table, &random) }
            }
            try #require(mdb_txn_commit(transaction) == MDB_SUCCESS)
            try body()
        }
    }

    private func step(_ transaction: OpaquePointer?, _ table: MDB_dbi, _ random: inout SeededGenerator) throws {
        let number = UInt64.random(in: 1..<400, using: &random)
        var key = Array(repeating: UInt8(number & 255), count: Int(number) % 100 + 1)
        withUnsafeBytes(of: number.bigEndian) { key.insert(contentsOf: $0, at: 0) }
        let size = number % 20 == 0 ? 820_000 : number % 7 == 0 ? 9000 : Int(number)
        let code = key.withUnsafeMutableBytes { raw in
            var key = MDB_val(mv_size: raw.count, mv_data: raw.baseAddress)
            if Int.random(in: 0..<3, using: &random) == 0 { return mdb_del(transaction, table, &key, nil) }
            var value = MDB_val(mv_size: size, mv_data: nil)
            let code = mdb_put(transaction, table, &key, &value, UInt32(MDB_RESERVE))
            if code == MDB_SUCCESS { memset(value.mv_data, 0xAB, size) }
            return code
        }
        try #require(code == MDB_SUCCESS || code == MDB_NOTFOUND)
    }

    func bytes() throws -> [UInt8] {
        let file = try File(path, O_RDONLY)
        var bytes = [UInt8](repeating: 0, count: try file.size())
        let count = try bytes.withUnsafeMutableBytes { try file.readUpTo($0, at: 0) }
        try #require(count == bytes.count)
        return bytes
    }

    /// Changes bytes at `offset`, for as long as `body` runs.
    func with<Result>(_ new: [UInt8], at offset: Int, _ body: () throws -> Result) throws -> Result {
        let file = try File(path, O_RDWR)
        var old = new
        let count = try old.withUnsafeMutableBytes { try file.readUpTo($0, at: offset) }
        try #require(count == new.count)
        try new.withUnsafeBytes { try file.write($0, at: offset) }
        defer { try? old.withUnsafeBytes { try file.write($0, at: offset) } }
        return try body()
    }

    func report(limit: Int? = nil) throws -> LMDBFile.Report { try LMDBFile.inspect(try File(path, O_RDONLY), limit: limit) }
    func check(limit: Int? = nil) throws { try LMDBFile.check(try File(path, O_RDONLY), limit: limit) }
    func isDamaged() -> Bool {
        do { try check() } catch { return (error as? StoreError)?.code == .damaged }
        return false
    }
}

/// Where things are in a data file, read from its bytes.
private struct Layout {
    let bytes: [UInt8]

    func number<T: FixedWidthInteger>(_ offset: Int, _ type: T.Type = T.self) -> T {
        bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) }
    }

    /// The byte offset of the newer meta page.
    var meta: Int { number(144, UInt64.self) < number(Page.size + 144, UInt64.self) ? Page.size : 0 }
    /// The byte offset of the main tree's root, which is its only leaf.
    var main: Int { Int(number(meta + 88 + 40, UInt64.self)) * Page.size }
    func node(_ page: Int, _ index: Int) -> Int { page + Int(number(page + 16 + 2 * index, UInt16.self)) }
    func count(_ page: Int) -> Int { (Int(number(page + 12, UInt16.self)) - 16) / 2 }
    func data(_ node: Int) -> Int { node + 8 + Int(number(node + 6, UInt16.self)) }
    /// The byte offset of the root of the table that is `index`-th by name.
    func root(_ index: Int) -> Int { Int(number(data(node(main, index)) + 40, UInt64.self)) * Page.size }
    /// The byte offset of the leftmost child of a branch.
    func child(_ page: Int, _ index: Int = 0) -> Int { Int(number(node(page, index), UInt32.self)) * Page.size }
}

@Suite struct LMDBFileTests {
    @Test(arguments: 1...3) func soundFilesHaveNoProblems(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let file = DataFile()
        var states = 0
        try file.run(25, &random) {
            let report = try file.report()
            #expect(report.problems.isEmpty)
            #expect(report.leakedPages == 0)
            #expect(report.treePages + report.overflowPages + report.freePages + 2 == report.lastPage + 1)
            states += 1
            #expect(report.transaction == UInt64(states))
            try file.check()
            try file.check(limit: 3)
        }
    }

    @Test func aNewFileIsSound() throws {
        var random = SeededGenerator(seed: 1)
        let file = DataFile()
        try file.run(0, &random)
        let report = try file.report()
        #expect(report.problems.isEmpty && report.treePages == 0 && report.lastPage == 1)
    }

    @Test func damageIsNamed() throws {
        var random = SeededGenerator(seed: 2)
        let file = DataFile()
        try file.run(40, &random)
        let layout = Layout(bytes: try file.bytes())
        let (meta, main, root) = (layout.meta, layout.main, layout.root(0))
        try #require(layout.number(root + 10, UInt16.self) == 1, "a branch is needed")
        var leaf = layout.child(root)
        while layout.number(leaf + 10, UInt16.self) == 1 { leaf = layout.child(leaf) }
        func copy(_ offset: Int, _ count: Int) -> [UInt8] { Array(layout.bytes[offset..<offset + count]) }
        func number(_ value: UInt64) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
        func expect(_ problem: String, at offset: Int, _ new: [UInt8], line: Int = #line) throws {
            try file.with(new, at: offset) {
                let problems = try file.report().problems
                #expect(problems.contains { $0.contains(problem) }, "line \(line): \(problems)")
                #expect(file.isDamaged(), "line \(line)")
            }
        }
        try expect("magic", at: 16, [0])
        try expect("data version", at: Page.size + 20, [2])
        try expect("not marked", at: 10, [2])
        try expect("another page's number", at: Page.size, [0])
        try expect("pages of", at: meta + 41, [0x20])
        try expect("which cannot be", at: meta + 144, number(7 << 32))
        try expect("last page", at: meta + 136, number(1 << 50))
        try expect("last page", at: meta + 32, number(4096))
        try expect("the free list has depth", at: meta + 46, [99])
        try expect("not in the file", at: meta + 80, number(1))
        try expect("the main tree should hold", at: meta + 88 + 32, number(17))
        try expect("the main tree has flags", at: meta + 88 + 4, [4])
        try expect("table names has flags", at: layout.data(layout.node(main, 0)) + 4, [4])
        try expect("should hold", at: layout.data(layout.node(main, 0)) + 8, number(0))
        try expect("bears the number", at: root, number(3))
        try expect("has flags", at: leaf + 10, [0x22])
        try expect("free space", at: leaf + 14, [0xFF, 0xFF])
        try expect("has 0 nodes", at: leaf + 12, [16])
        try expect("at offset", at: leaf + 16, [0xFE, 0xFF])
        try expect("overlapping", at: leaf + 16, copy(leaf + 18, 2))
        try expect("has a key of", at: layout.node(leaf, 0) + 6, [0, 0])
        try expect("has flags", at: layout.node(leaf, 0) + 4, [4])
        try expect("out of order", at: leaf + 16, copy(leaf + 18, 2) + copy(leaf + 16, 2))
        try expect("in use elsewhere", at: layout.node(root, 1), copy(layout.node(root, 0), 4))
        try expect("keys below", at: layout.node(layout.child(root, 1), 0) + 8, number(0))
    }

    @Test func damageOfLargeValuesAndOfTheFreeListIsNamed() throws {
        var random = SeededGenerator(seed: 3)
        let file = DataFile()
        try file.run(40, &random)
        let bytes = try file.bytes()
        let layout = Layout(bytes: bytes)
        let start = try #require(
            stride(from: 2 * Page.size, to: bytes.count, by: Page.size).first { page in
                layout.number(page, UInt64.self) == UInt64(page / Page.size) && layout.number(page + 10, UInt16.self) == 4
                    && layout.number(page + 12, UInt32.self) == 201
                    && (try? file.with([0], at: page + 10) { file.isDamaged() }) == true
            }, "a large value in use is needed")
        try file.with([200], at: start + 12) { #expect(file.isDamaged()) }
        try file.with([0, 0, 1, 0], at: start + 12) { #expect(file.isDamaged()) }
        try file.with([1], at: start) { #expect(file.isDamaged()) }

        let freeRoot = Int(layout.number(layout.meta + 80, UInt64.self)) * Page.size
        try #require(layout.number(freeRoot + 10, UInt16.self) == 2)
        let last = layout.node(freeRoot, layout.count(freeRoot) - 1)
        let list = layout.data(last)
        for wrong in [UInt64(0), 1, UInt64(start / Page.size), UInt64(layout.main / Page.size), .max] {
            try withUnsafeBytes(of: wrong.littleEndian) { number in
                try file.with(Array(number), at: list + 8) { #expect(file.isDamaged(), "\(wrong) on the free list") }
            }
        }
        try file.with([255], at: list + 7) { #expect(file.isDamaged()) }
        try file.with([255], at: last + 8 + 7) { #expect(file.isDamaged()) }
    }

    @Test func aFileCutShortIsDamagedWhateverTheLimit() throws {
        var random = SeededGenerator(seed: 4)
        let file = DataFile()
        try file.run(20, &random)
        let size = try file.bytes().count
        for keep in [size / 2, 3 * Page.size, 2 * Page.size, Page.size, 100, 0] {
            try #require(truncate(file.path, off_t(keep)) == 0)
            #expect(throws: StoreError.self) { try file.check() }
            #expect(throws: StoreError.self) { try file.check(limit: 1) }
        }
    }

    /// LMDB does not write pages that a transaction took and gave back.
    @Test func aFileMayEndBeforeItsLastPageWhereThatIsUnused() throws {
        var random = SeededGenerator(seed: 6)
        let file = DataFile()
        try file.run(20, &random)
        let layout = Layout(bytes: try file.bytes())
        let last = UInt64(layout.bytes.count / Page.size + 2)
        try file.with(withUnsafeBytes(of: last.littleEndian) { Array($0) }, at: layout.meta + 136) {
            let report = try file.report(limit: 1)
            #expect(report.problems.isEmpty && report.leakedPages == 3 && report.treePages > 1)
        }
    }

    @Test func aLimitEndsTheWalkQuietly() throws {
        var random = SeededGenerator(seed: 5)
        let file = DataFile()
        try file.run(20, &random)
        let all = try file.report().treePages
        for limit in [0, 1, all - 1, all, all + 1] { #expect(try file.report(limit: limit).treePages == min(limit, all)) }
    }

    @Test(arguments: 1...2) func noBytesTrap(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let file = DataFile()
        try file.run(20, &random)
        let layout = Layout(bytes: try file.bytes())
        let count = layout.bytes.count / Page.size
        let trees = (0..<count).filter { layout.number($0 * Page.size, UInt64.self) == UInt64($0) }
        for _ in 0..<250 {
            let page = trees.randomElement(using: &random)! * Page.size
            let offset = Int.random(in: 0..<(Bool.random(using: &random) ? 160 : Page.size - 8), using: &random)
            let junk = (0..<Int.random(in: 1...8, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
            try file.with(junk, at: page + offset) { _ = try file.report() }
        }
    }
}
