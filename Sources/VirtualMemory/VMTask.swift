public import AddressMap
internal import Catalog
internal import HostMemory
public import VMTypes

/// A persistent task: a window of host addresses and the map of what lies in it.
///
/// Its map is part of what a commit makes durable. Attached again, in any process, every region is at its address with
/// its protections, inheritance and contents. Map changes take effect at once, become durable with the next commit and
/// are undone by `Store.abandon`. Thread-safe; guarded by the store's lock.
public final class VMTask: @unchecked Sendable {
    public let name: String
    public let id: TaskID
    /// The store that the task is part of; closing it lets go of its tasks.
    let store: Store
    let window: AddressWindow
    /// Guarded by the store's lock.
    var map: AddressMap
    var committedMap: AddressMap
    /// The addresses whose entries may differ from the committed ones.
    var changed: Range<UInt64>?
    /// Whether anything was ever wired. Pinning is no part of what a commit makes durable.
    var wasWired = false

    /// Whether a commit has made the task.
    var isSaved: Bool

    init(name: String, id: TaskID, store: Store, window: AddressWindow, map: AddressMap, isSaved: Bool) {
        self.name = name
        self.id = id
        self.store = store
        self.window = window
        self.map = map
        self.isSaved = isSaved
        committedMap = map
    }

    /// The window's first address.
    public var windowBase: UInt64 { window.base }
    /// Bytes of the window.
    public var windowSize: UInt64 { UInt64(window.byteCount) }

    /// Where an address of the task is in this process: there.
    public func pointer(_ address: UInt64) -> UnsafeMutableRawPointer { UnsafeMutableRawPointer(bitPattern: UInt(address))! }

    /// Every region, by address.
    public var entries: [MapEntry] { store.withMemory { _ in Array(map.entries) } }

    /// Says that the program is about to write to the range, for `commit(declaredOnly:)`; addresses that no writable
    /// region covers are ignored. Pages are the unit.
    ///
    /// It counts for the next commit, whoever makes it: between this and the end of the store no other thread may begin a commit with
    /// `declaredOnly`, which would take the page as it was, and forget it. Commits that ask the kernel find every store.
    public func touch(address: UInt64, size: UInt64) {
        guard size > 0 else { return }
        store.withMemory { memory in
            let end = address.addingReportingOverflow(size).overflow ? map.bounds.upperBound : address + size
            // Most ranges lie within one region: no list is made for them.
            if let entry = map.lookup(address), end <= entry.end, end > address {
                declare(entry.clipped(to: Page.trunc(address)..<(Page.round(end) ?? entry.end)) ?? entry, &memory)
                return
            }
            let range = (Page.trunc(address)..<max(Page.trunc(address), Page.round(end) ?? .max)).clamped(to: map.bounds)
            for entry in map.pieces(in: range) { declare(entry, &memory) }
        }
    }

    private func declare(_ piece: MapEntry, _ memory: inout Store.Memory) {
        guard case .object(let id, let offset) = piece.backing, let object = memory.mapped[id] else { return }
        let first = Int(offset >> UInt64(Page.shift))
        object.declare(PageRange(start: first, count: Int(piece.end - piece.start) >> Page.shift).intersection(object.livePages))
    }

    // MARK: What a commit needs to know

    /// The task itself, where no commit has made it yet, and its map's changes since the last commit, without regions of
    /// `volatile` objects.
    func pendingChanges(without volatile: Set<ObjectID>) -> [CatalogChange] {
        var changes: [CatalogChange] = []
        if !isSaved {
            changes.append(.createTask(id: id, name: name, windowBase: windowBase, windowSize: windowSize))
        }
        if let range = changedEntries(without: volatile) {
            changes.append(
                .setEntries(
                    task: id, start: range.lowerBound, end: range.upperBound,
                    entries: lastingMaps.now.entries(in: range, without: volatile).map { CatalogEntry($0, task: id) }))
        }
        return changes
    }

    /// Whether the map differs from the committed one, beside regions of `volatile` objects.
    func hasChangedMap(without volatile: Set<ObjectID>) -> Bool { changedEntries(without: volatile) != nil }

    /// Both maps without what no commit makes durable: entries that differ in wiring alone are one row of the catalog.
    private var lastingMaps: (now: AddressMap, committed: AddressMap) {
        guard wasWired else { return (map, committedMap) }
        var now = map, committed = committedMap
        now.forgetWiring()
        committed.forgetWiring()
        return (now, committed)
    }

    /// The addresses whose entries differ from the committed ones, whole entries of both maps; nil where none do.
    private func changedEntries(without volatile: Set<ObjectID>) -> Range<UInt64>? {
        guard var range = changed else { return nil }
        let (now, committed) = lastingMaps
        // The catalog ends every row that overlaps the range: it must cut no entry of either map.
        while true {
            var wider = range
            for entry in [now.entries(in: range), committed.entries(in: range)].joined() {
                wider = min(wider.lowerBound, entry.start)..<max(wider.upperBound, entry.end)
            }
            if wider == range { break }
            range = wider
        }
        let isSame = now.entries(in: range, without: volatile) == committed.entries(in: range, without: volatile)
        return isSame ? nil : range
    }

    func commitMap() {
        isSaved = true
        committedMap = map
        changed = nil
    }

    func noteChange(_ range: Range<UInt64>) {
        let range = range.clamped(to: map.bounds)
        guard !range.isEmpty else { return }
        changed = changed.map { min($0.lowerBound, range.lowerBound)..<max($0.upperBound, range.upperBound) } ?? range
    }
}

extension AddressMap {
    /// The entries that overlap a range and show none of these objects.
    func entries(in range: Range<UInt64>, without volatile: Set<ObjectID>) -> [MapEntry] {
        let found = Array(entries(in: range))
        if volatile.isEmpty { return found }
        return found.filter { entry in entry.backing.object.map(volatile.contains) != true }
    }
}

extension CatalogEntry {
    init(_ entry: MapEntry, task: TaskID) {
        self.init(
            task: task, start: entry.start, end: entry.end, object: entry.backing.object,
            offset: entry.backing.object == nil ? 0 : entry.backing.offset, current: entry.current,
            maximum: entry.maximum, inheritance: entry.inheritance, copied: entry.copied)
    }

    var mapEntry: MapEntry {
        MapEntry(
            start: start, end: end, backing: object.map { .object($0, offset: offset) } ?? .zeroFill, current: current,
            maximum: maximum, inheritance: inheritance, copied: copied)
    }
}
