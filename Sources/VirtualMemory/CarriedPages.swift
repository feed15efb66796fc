internal import Glibc
internal import HostMemory
internal import PageStore
internal import VMTypes

/// Changed pages of an object in memory of our own: of one that was unmapped before they were committed, or of one whose
/// protection forbids reading them where they are; or what a version is to hold in the place of what is in memory.
///
/// Invariant: `origin + page * 4096` lies in a mapping of our own for every page below the object's end.
final class CarriedPages {
    let object: ObjectID
    let size: UInt64
    /// In order, apart from each other.
    private(set) var runs: [PageRange] = []
    private let base: UnsafeMutableRawPointer
    private let count: Int

    init(_ object: MappedObject) throws(StoreError) {
        self.object = object.id
        size = object.size
        count = max(1, Page.count(forBytes: Int(object.size))) * Page.size
        let p = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let p, p != MAP_FAILED else {
            throw StoreError(.full, "no memory for the changed pages of object \(object.id)", errno: errno)
        }
        base = p
    }

    deinit { munmap(base, count) }

    var origin: UnsafeRawPointer { UnsafeRawPointer(base) }

    var layer: LayerInput { LayerInput(object: object, size: size, runs: runs, origin: origin) }

    /// Copies pages as they are in memory now, over what was carried of them.
    func add(_ added: [PageRange], from mapping: ExclusiveMapping) throws(StoreError) {
        try add(added) { (run, target) throws(StoreError) in try mapping.copyOut(run, into: target) }
    }

    /// Carries pages that `body` copies to the place it is given, over what was carried of them.
    func add(_ added: [PageRange], _ body: (PageRange, UnsafeMutableRawPointer) throws(StoreError) -> Void) throws(StoreError) {
        for run in added { try body(run, base + run.start * Page.size) }
        runs = joined(runs + added)
    }

    /// Stores the carried pages that `mapping` shows to it: they are changed pages of its own from now on.
    func copy(to mapping: ExclusiveMapping) {
        for run in runs {
            let shown = run.intersection(mapping.pages)
            guard !shown.isEmpty else { continue }
            memcpy(mapping.pointer(toPage: shown.start), base + shown.start * Page.size, shown.count * Page.size)
        }
    }

    /// Copies the carried pages within `range` to memory whose first byte is the range's first page.
    func copy(_ range: PageRange, to target: UnsafeMutableRawPointer) {
        for run in runs {
            let part = run.intersection(range)
            guard !part.isEmpty else { continue }
            memcpy(target + (part.start - range.start) * Page.size, base + part.start * Page.size, part.count * Page.size)
        }
    }

    /// Forgets the pages in `range`.
    func drop(_ range: PageRange) {
        runs = runs.flatMap { run in
            [
                PageRange(start: run.start, count: max(0, min(run.end, range.start) - run.start)),
                PageRange(start: max(run.start, range.end), count: max(0, run.end - max(run.start, range.end))),
            ].filter { !$0.isEmpty }
        }
    }
}

extension PageRange {
    func intersection(_ other: PageRange) -> PageRange {
        let first = max(start, other.start)
        return PageRange(start: first, count: max(0, min(end, other.end) - first))
    }
}

/// Sorts runs and joins those that touch or overlap.
func joined(_ runs: [PageRange]) -> [PageRange] {
    guard runs.count > 1 else { return runs }
    if zip(runs, runs.dropFirst()).allSatisfy({ $0.end < $1.start }) { return runs }
    var result: [PageRange] = []
    result.reserveCapacity(runs.count)
    for run in runs.sorted(by: { $0.start < $1.start }) where !run.isEmpty {
        if let last = result.last, run.start <= last.end {
            result[result.count - 1].count = max(last.end, run.end) - last.start
        } else {
            result.append(run)
        }
    }
    return result
}
