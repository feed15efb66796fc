import Foundation
@testable import PageStore
import PageStoreModel
import TestSupport
import Testing
import VMTypes

/// Compares an object at two versions in the way of `compare` and by whole page tables; both must say the same, and refuse the same.
/// True where few pages were looked at.
@discardableResult
func checkComparison(
    _ store: PageStore, _ object: ObjectID, _ before: Version, _ after: Version, isSecondLook: Bool = false
) throws -> Bool {
    let what = "object \(object), \(before) and \(after)"
    var views: [ObjectView] = []
    var found: ObjectComparison?
    var codes: [StoreError.Code?] = [nil, nil]
    do { views = [try store.view(of: object, at: before), try store.view(of: object, at: after)] } catch { codes[0] = error.code }
    do { found = try store.compare(object, before, with: after) } catch { codes[1] = error.code }
    guard codes[0] == codes[1] else {
        // A merge that ended in between may have taken a state that nothing retains: then neither way has it from now on.
        guard isSecondLook else {
            (views, found) = ([], nil)
            return try checkComparison(store, object, before, after, isSecondLook: true)
        }
        throw Mismatch("\(what): \(codes), by whole tables and by their differences")
    }
    guard let comparison = found else { return false }
    let old = views[0], new = views[1]
    guard comparison.sizeBefore == old.size, comparison.sizeAfter == new.size else {
        throw Mismatch("\(what): sizes \(comparison.sizeBefore), \(comparison.sizeAfter), not \(old.size), \(new.size)")
    }
    guard try store.size(of: object, at: before) == old.size else { throw Mismatch("\(what): the size by itself") }
    let runs = old.differences(from: new)
    guard comparison.runs == runs else { throw Mismatch("\(what): \(comparison.runs), not \(runs)") }
    let bytes = AlignedBuffer(capacity: 4 * Page.size)
    for run in runs {
        for page in run.start..<run.end {
            try comparison.read(page, before: bytes.base, after: bytes.base + Page.size)
            try old.read(PageRange(start: page, count: 1), into: bytes.base + 2 * Page.size)
            try new.read(PageRange(start: page, count: 1), into: bytes.base + 3 * Page.size)
            guard memcmp(bytes.base, bytes.base + 2 * Page.size, 2 * Page.size) == 0 else { throw Mismatch("\(what): the bytes of page \(page)") }
        }
    }
    return comparison.isOfFewPages
}

/// Random histories of objects with layers of many parts, whose states are compared in both ways.
@Suite struct CompareTests {
    @Test func differencesOfStatesAreThoseOfTheirTables() throws {
        let wanted = ProcessInfo.processInfo.environment["VARVE_TEST_SEED"].flatMap(UInt64.init)
        let first = wanted ?? UInt64.random(in: 0...UInt64.max / 2)
        let count = wanted == nil ? Budget.of(quick: 6, default: 20, full: 60) : 1
        print("compare: \(count) histories from seed \(first)")
        var few = 0, all = 0
        for seed in first..<first + UInt64(count) {
            do {
                let history = try RandomHistory(seed)
                try history.run(steps: 150)
                few += history.few
                all += history.comparisons
            } catch { Issue.record("seed \(seed): \(error)") }
        }
        print("compare: \(all) comparisons, \(few) of few pages")
        #expect(few > all / 4)
    }

    @Test func aComparisonKeepsItsBytesWhileLayersMove() throws {
        let history = try RandomHistory(7)
        try history.run(steps: 40)
        let store = history.store
        let object = try #require(history.live.keys.min())
        let before = store.lastVersion
        try history.write(object, count: 20)
        let after = store.lastVersion
        let comparison = try store.compare(object, before, with: after)
        let bytes = AlignedBuffer(capacity: 2 * Page.size)
        func words() throws -> [UInt64] {
            try comparison.runs.flatMap { $0.start..<$0.end }.flatMap { page in
                try comparison.read(page, before: bytes.base, after: bytes.base + Page.size)
                return [bytes.base.load(as: UInt64.self), (bytes.base + Page.size).load(as: UInt64.self)]
            }
        }
        let expected = try words()
        #expect(!expected.isEmpty)
        for _ in 0..<4 {
            for _ in 0..<10 { try history.write(object, count: 30) }
            try store.settle()
            _ = try store.reclaim()
            #expect(try words() == expected)
        }
    }

    @Test func aRollbackPutsTheHeadsTableBack() throws {
        let history = try RandomHistory(11)
        let store = history.store
        let object = try #require(history.live.keys.min())
        let before = store.lastVersion
        let content = history.live[object]!
        try history.write(object, count: 10)
        let head = try store.head(of: object)
        let comparison = try store.compare(object, before, with: store.lastVersion)
        let size = comparison.sizeBefore
        _ = try store.commit(
            [], operations: [.lineage(object: object, source: object, sourceVersion: before, size: size)], restored: [comparison])
        let restored = try store.head(of: object)
        #expect(restored.table === head.table, "the table was not made anew")
        history.live[object] = content
        try history.checkHead(of: object)
    }

    @Test func aPageThatIsTheSameAtAnotherPlaceGoesBackToItsOldOne() throws {
        let history = try RandomHistory(13)
        let store = history.store
        let object = try #require(history.live.keys.min())
        try history.write(object, word: 1_000_000, to: 5)
        let before = store.lastVersion
        let content = history.live[object]!
        _ = try store.head(of: object)
        try history.write(object, word: 2_000_000, to: 5)
        try history.write(object, word: 1_000_000, to: 5)
        try history.write(object, word: 3_000_000, to: 6)
        try store.settle()
        let comparison = try store.compare(object, before, with: store.lastVersion)
        #expect(comparison.runs == [PageRange(start: 6, count: 1)])
        _ = try store.commit(
            [], operations: [.lineage(object: object, source: object, sourceVersion: before, size: comparison.sizeBefore)], restored: [comparison])
        history.live[object] = content
        // What the rollback left goes out of use, and its place to others.
        for _ in 0..<4 {
            for word in 0..<10 { try history.write(object, word: 4_000_000 + UInt64(word), to: 7 + word) }
            try store.settle()
            _ = try store.reclaim()
        }
        try history.checkHead(of: object)
    }

    @Test func aRollbackBehindAnotherCommitTakesNothingFromItsComparison() throws {
        let history = try RandomHistory(12)
        let store = history.store
        let object = try #require(history.live.keys.min())
        let before = store.lastVersion
        let content = history.live[object]!
        try history.write(object, count: 10)
        _ = try store.head(of: object)
        let comparison = try store.compare(object, before, with: store.lastVersion)
        try history.write(object, count: 10)
        _ = try store.commit(
            [], operations: [.lineage(object: object, source: object, sourceVersion: before, size: comparison.sizeBefore)], restored: [comparison])
        history.live[object] = content
        try history.checkHead(of: object)
    }

    @Test func statesThatShareABeginningForkWhereTheyPart() throws {
        typealias Segment = PageStore.Segment
        let a = ObjectID(1), b = ObjectID(2)
        func segment(_ object: ObjectID, _ from: UInt64, _ through: UInt64) -> Segment {
            Segment(object: object, from: Version(from), through: Version(through))
        }
        // One line.
        var fork = try #require(StateFork([segment(a, 0, 5)], [segment(a, 0, 9)]))
        #expect(fork.common == [segment(a, 0, 5)])
        #expect(fork.before.isEmpty)
        #expect(fork.after.map(\.from) == [Version(6)])
        // A rollback to 3 at version 7, against what it left behind.
        fork = try #require(StateFork([segment(a, 0, 6)], [segment(a, 7, 9), segment(a, 0, 3)]))
        #expect(fork.common == [segment(a, 0, 3)])
        #expect(fork.before.map(\.from) == [Version(4)])
        #expect(fork.after.map(\.from) == [Version(7)])
        // The state that was gone back to.
        fork = try #require(StateFork([segment(a, 0, 3)], [segment(a, 7, 9), segment(a, 0, 3)]))
        #expect(fork.common == [segment(a, 0, 3)])
        #expect(fork.before.isEmpty)
        #expect(fork.after.map(\.isWhole) == [true])
        // Nothing in common.
        #expect(StateFork([segment(a, 0, 3)], [segment(b, 0, 3)]) == nil)
    }
}

/// A store of one or more objects, and what they hold.
private final class RandomHistory {
    private static let pages = 1500
    private let parent = TemporaryFolder("compare", inMemory: true)
    private(set) var store: PageStore
    private var generator: SeededGenerator
    private let heap: Heap
    /// What each live object holds: the first word of each page, and how many pages it has.
    var live: [ObjectID: (words: [UInt64], size: UInt64)] = [:]
    /// States that may be asked for, with what they hold.
    private var past: [(object: ObjectID, version: Version, words: [UInt64], size: UInt64)] = []
    private var named: [String] = []
    private var word: UInt64 = 1
    private(set) var comparisons = 0
    private(set) var few = 0

    init(_ seed: UInt64) throws {
        generator = SeededGenerator(seed: seed)
        heap = Heap(pages: Self.pages)
        _ = try PageStore.create(in: parent.path, options: .init(ringBytes: 4 << 20))
        store = try PageStore.open(parent.path)
        try begin()
        _ = try store.commit([], operations: [.setRetention(Retention(versions: UInt32(1 + seed % 4), seconds: 0))])
        try create()
    }

    deinit { store.abandon() }

    private func begin() throws {
        let isEager = number(2) == 0
        store.checkpointPolicy = isEager ? CheckpointPolicy(settledParts: 1, closingParts: 1) : CheckpointPolicy(settledParts: 20, closingParts: 1000)
        store.mergePolicy = isEager ? .eager : MergePolicy(most: 1.3, least: 1.2, deadShare: 0.1, settledPages: 1)
    }

    private func number(_ count: Int) -> Int { Int.random(in: 0..<count, using: &generator) }

    private func pick<T>(_ all: some Collection<T>) -> T? { all.randomElement(using: &generator) }

    func run(steps: Int) throws {
        for step in 0..<steps {
            do {
                try perform()
                try compare()
            } catch { throw Mismatch("step \(step): \(error)") }
        }
        try store.settle()
        _ = try store.reclaim()
        for _ in 0..<10 { try compare() }
        for object in live.keys.sorted() { try checkHead(of: object) }
    }

    private func create() throws {
        let id = ObjectID(store.newID())
        let size = UInt64(Self.pages * Page.size)
        _ = try store.commit([], operations: [.createObject(id: id, name: "", size: size, residency: .shared)])
        live[id] = ([UInt64](repeating: 0, count: Self.pages), size)
        try write(id, pages: Array(0..<Self.pages))
    }

    func write(_ object: ObjectID, count: Int) throws {
        let pages = Page.count(forBytes: Int(live[object]!.size))
        guard pages > 0 else { return }
        try write(object, pages: Set((0..<count).map { _ in number(pages) }).sorted())
    }

    /// Writes a page that begins with `word`.
    func write(_ object: ObjectID, word: UInt64, to page: Int) throws {
        heap.fill(page, word)
        live[object]!.words[page] = word
        _ = try store.commit([heap.layer(object, [page])])
    }

    private func write(_ object: ObjectID, pages: [Int]) throws {
        for page in pages {
            word += 1
            // Now and then a page of zeros, a page as it was, or a line of it.
            switch number(10) {
            case 0: heap.clear(page)
            case 1: fill(page, live[object]!.words[page])
            case 2...5:
                fill(page, live[object]!.words[page])
                (heap.base + page * Page.size).storeBytes(of: word, as: UInt64.self)
            default: fill(page, word)
            }
            live[object]!.words[page] = (heap.base + page * Page.size).load(as: UInt64.self)
        }
        var layer = heap.layer(object, pages)
        layer.size = live[object]!.size
        let version = try store.commit([layer], durability: number(3) == 0 ? .synced : .deferred)
        past.append((object, version, live[object]!.words, live[object]!.size))
    }

    private func fill(_ page: Int, _ word: UInt64) {
        if word == 0 { heap.clear(page) } else { heap.fill(page, word) }
    }

    private func perform() throws {
        guard let object = pick(live.keys.sorted()) else { return try create() }
        switch number(40) {
        case 0..<14: try write(object, count: 1 + number(12))
        case 14: try write(object, count: 400)
        case 15: try resize(object)
        case 16, 17: try clone(object)
        case 18..<22: try rollBack(object)
        case 22: if live.count > 1 { try delete(object) }
        case 23..<26:
            word += 1
            _ = try store.commit([], operations: [.createSnapshot(name: "s\(word)", version: .infinity, object: number(2) == 0 ? object : nil, message: "")])
            named.append("s\(word)")
        case 26: if let name = named.popLast() { _ = try store.commit([], operations: [.deleteSnapshot(name: name)]) }
        case 27..<30: _ = try store.head(of: object)
        case 30, 31: try store.settle()
        case 32, 33: _ = try store.settleOnce()
        case 34: try store.mergeWhereWorthwhile()
        case 35: _ = try store.reclaim()
        case 36: _ = try store.optimize(object)
        case 37: try store.checkpointWhereWorthwhile()
        case 38: try checkHead(of: object)
        default: try reopen()
        }
    }

    private func resize(_ object: ObjectID) throws {
        let pages = 700 + number(Self.pages - 700)
        let size = UInt64(pages * Page.size)
        _ = try store.commit([], operations: [.resizeObject(id: object, size: size)])
        for page in min(pages, live[object]!.words.count)..<live[object]!.words.count { live[object]!.words[page] = 0 }
        live[object]!.size = size
        past.append((object, store.lastVersion, live[object]!.words, size))
    }

    /// A state of the past that is there still.
    private func kept(_ object: ObjectID?) throws -> (object: ObjectID, version: Version, words: [UInt64], size: UInt64)? {
        guard let state = pick(past.suffix(60).filter { object == nil || $0.object == object }) else { return nil }
        do { _ = try store.view(of: state.object, at: state.version) } catch {
            guard error.code == .notRetained || error.code == .notFound else { throw error }
            return nil
        }
        return state
    }

    private func clone(_ object: ObjectID) throws {
        guard live.count < 4, let source = try kept(nil) else { return }
        let id = ObjectID(store.newID())
        let operations: [StoreOperation] = [
            .createObject(id: id, name: "", size: source.size, residency: .shared),
            .lineage(object: id, source: source.object, sourceVersion: source.version, size: source.size),
        ]
        do { _ = try store.commit([], operations: operations) } catch {
            guard error.code == .notRetained || error.code == .notFound else { throw error }
            return
        }
        live[id] = (source.words, source.size)
        past.append((id, store.lastVersion, source.words, source.size))
    }

    private func rollBack(_ object: ObjectID) throws {
        guard let state = try kept(object) else { return }
        let comparison = try store.compare(object, state.version, with: store.lastVersion)
        // The comparison holds the state.
        _ = try store.commit(
            [], operations: [.lineage(object: object, source: object, sourceVersion: state.version, size: state.size)],
            restored: number(4) > 0 ? [comparison] : [])
        live[object] = (state.words, state.size)
        past.append((object, store.lastVersion, state.words, state.size))
        try checkHead(of: object)
    }

    private func delete(_ object: ObjectID) throws {
        _ = try store.commit([], operations: [.deleteObject(id: object)])
        live[object] = nil
    }

    private func reopen() throws {
        if number(2) == 0 { try store.close() } else { store.abandon() }
        store = try PageStore.open(parent.path)
        try begin()
    }

    private func compare() throws {
        for _ in 0..<2 {
            guard let a = pick(past.suffix(number(3) == 0 ? 60 : 6)), let b = pick(past.suffix(60).filter { $0.object == a.object }) else { return }
            comparisons += 1
            if try checkComparison(store, a.object, a.version, b.version) { few += 1 }
        }
    }

    func checkHead(of object: ObjectID) throws {
        let view = try store.head(of: object)
        let (words, size) = live[object]!
        guard view.size == size else { throw Mismatch("the head of \(object) has \(view.size) bytes, not \(size)") }
        let count = Page.count(forBytes: Int(size))
        let bytes = AlignedBuffer(capacity: count * Page.size)
        try view.read(PageRange(start: 0, count: count), into: bytes.base)
        for page in 0..<count {
            let word = (bytes.base + page * Page.size).load(as: UInt64.self)
            guard word == words[page] else { throw Mismatch("page \(page) of the head of \(object) begins with \(word), not \(words[page])") }
        }
    }
}
