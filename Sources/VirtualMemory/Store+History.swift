internal import Catalog
internal import Glibc
internal import HostMemory
public import PageStore
public import VMTypes

extension Store {
    /// One version in the log.
    public struct LogEntry: Hashable, Sendable {
        public var version: Version
        /// Seconds since 1970.
        public var time: Double
        public var message: String
        /// Pages that it changed.
        public var pages: Int
        /// What else it changed, in words.
        public var changes: [String]
        /// Snapshots that name it.
        public var snapshots: [String]
        /// Whether its state can still be looked at.
        public var isRetained: Bool
    }

    /// The commits, newest first: those with a message or changes of names and maps, and the latest of the others.
    public func log(limit: Int? = nil) throws(StoreError) -> [LogEntry] {
        try ForkedChild.refuse()
        let mark = try catalog.mark
        var entries: [LogEntry] = []
        for commit in try pages.commits(after: mark) {
            let told = try CatalogCommit(commit)
            entries.append(
                LogEntry(
                    version: commit.version, time: told.time, message: told.message, pages: told.pages,
                    changes: commit.operations.compactMap(Self.describe), snapshots: [], isRetained: false))
        }
        for entry in try catalog.log(limit: limit) where entry.version <= mark {
            entries.append(
                LogEntry(
                    version: entry.version, time: entry.time, message: entry.message, pages: entry.pages,
                    changes: entry.kinds.isEmpty ? [] : [entry.kinds.description], snapshots: [], isRetained: false))
        }
        entries.sort { $0.version > $1.version }
        if let limit { entries = Array(entries.prefix(max(0, limit))) }
        var names: [Version: [String]] = [:]
        for snapshot in try pages.snapshots() { names[snapshot.version, default: []].append(snapshot.name) }
        let kept = Int(pages.retention.versions)
        for index in entries.indices {
            entries[index].snapshots = names[entries[index].version] ?? []
            entries[index].isRetained = index < kept || !entries[index].snapshots.isEmpty
        }
        return entries
    }

    private static func describe(_ operation: StoreOperation) -> String? {
        switch operation {
        case .createObject(let id, let name, let size, _): "create \(name.isEmpty ? "\(id)" : name) (\(size) bytes)"
        case .renameObject(let id, let name): "rename \(id) to \(name)"
        case .resizeObject(let id, let size): "resize \(id) to \(size) bytes"
        case .deleteObject(let id): "delete \(id)"
        case .lineage(let object, let source, let version, _):
            object == source ? "roll \(object) back to \(version)" : "clone \(source)@\(version) as \(object)"
        case .createSnapshot(let name, _, _, _): "snapshot \(name)"
        case .deleteSnapshot(let name): "delete snapshot \(name)"
        case .renameSnapshot(let from, let to): "rename snapshot \(from) to \(to)"
        case .setRetention(let retention): "retain \(retention.versions) versions, \(retention.seconds) s"
        case .mapChanges: "maps"
        case .message: nil
        }
    }

    /// Every snapshot, by version and name.
    public func snapshots() throws(StoreError) -> [SnapshotInfo] {
        try ForkedChild.refuse()
        return try pages.snapshots()
    }

    /// Names the committed state, of the store or of one object, by a version of its own. What is not committed is no part
    /// of it.
    @discardableResult
    public func createSnapshot(_ name: String, object: String? = nil, message: String = "") throws(StoreError) -> SnapshotInfo {
        try ForkedChild.refuse()
        if let client {
            var request = ControlRequest(.createSnapshot)
            request.name = name
            request.object = object
            request.message = message
            let version = Version(try client.call(request).version ?? 0)
            return SnapshotInfo(name: name, version: version, object: nil, time: 0, message: message)
        }
        let id = try object.map { (name) throws(StoreError) in try liveObject(name).id }
        // It names its own version, which holds what the last one does: no state of the past needs to be kept for it.
        let version = try pages.commit(
            [], operations: [.createSnapshot(name: name, version: .infinity, object: id, message: message)],
            durability: Mutant.isPlanted(.snapshotNotFlushed) ? .deferred : .synced)
        return try pages.snapshot(named: name)
            ?? SnapshotInfo(name: name, version: version, object: id, time: 0, message: message)
    }

    public func deleteSnapshot(_ name: String) throws(StoreError) {
        try ForkedChild.refuse()
        if let client {
            var request = ControlRequest(.deleteSnapshot)
            request.name = name
            _ = try client.call(request)
            return
        }
        _ = try commitOperations([.deleteSnapshot(name: name)], message: "")
    }

    public func renameSnapshot(_ from: String, to: String) throws(StoreError) {
        try ForkedChild.refuse()
        if let client {
            var request = ControlRequest(.renameSnapshot)
            request.name = from
            request.newName = to
            _ = try client.call(request)
            return
        }
        _ = try commitOperations([.renameSnapshot(from: from, to: to)], message: "")
    }

    /// How an object differs between two states.
    public struct Difference: Hashable, Sendable {
        public enum Kind: String, Hashable, Sendable { case added, removed, changed, resized }
        public var name: String
        public var id: ObjectID
        public var kind: Kind
        public var sizeBefore: UInt64
        public var sizeAfter: UInt64
        /// The pages that differ.
        public var pages: [PageRange]
        public var changedPages: Int
        /// Bytes that differ, of the size that both have.
        public var changedBytes: Int
        /// The 64-byte lines that differ, page by page.
        public var lines: [PageLines]

        /// 64-byte lines of one page that differ.
        public struct PageLines: Hashable, Sendable {
            public var page: Int
            /// A bit a line, from bit 0.
            public var mask: UInt64
        }

        /// An object that is in one of the states only.
        fileprivate static func whole(_ id: ObjectID, _ name: String, _ kind: Kind, sizeBefore: UInt64 = 0, sizeAfter: UInt64 = 0) -> Difference {
            Difference(
                name: name, id: id, kind: kind, sizeBefore: sizeBefore, sizeAfter: sizeAfter, pages: [], changedPages: 0, changedBytes: 0,
                lines: [])
        }
    }

    /// What differs between two states, by object; an object is the same one where its number is.
    public func diff(_ a: State, _ b: State, object: String? = nil) throws(StoreError) -> [Difference] {
        try ForkedChild.refuse()
        let from = try version(of: a)
        let to = try version(of: b)
        let before = try names(of: object, at: from), after = try names(of: object, at: to)
        if let object, before.isEmpty, after.isEmpty {
            throw StoreError(.notFound, "no object is named '\(object)' in either state", advice: "`varve ls --at` lists them", path: path)
        }
        var found: [Difference] = []
        for id in Set(before.keys).union(after.keys).sorted() {
            let name = after[id] ?? before[id]!
            if before[id] == nil {
                found.append(.whole(id, name, .added, sizeAfter: try pages.size(of: id, at: to)))
            } else if after[id] == nil {
                found.append(.whole(id, name, .removed, sizeBefore: try pages.size(of: id, at: from)))
            } else if let difference = try difference(name, try pages.compare(id, from, with: to)) {
                found.append(difference)
            }
        }
        return found
    }

    /// The objects of a version, or the one of them that is meant.
    private func names(of object: String?, at version: Version) throws(StoreError) -> [ObjectID: String] {
        guard let object else {
            return Dictionary(try objectNames(at: version).map { ($0.id, $0.name) }, uniquingKeysWith: { first, _ in first })
        }
        return try objectName(object, at: version).map { [$0.id: $0.name] } ?? [:]
    }

    private func difference(_ name: String, _ comparison: ObjectComparison) throws(StoreError) -> Difference? {
        let (sizeBefore, sizeAfter) = (comparison.sizeBefore, comparison.sizeAfter)
        var runs: [PageRange] = []
        var lines: [Difference.PageLines] = []
        var bytes = 0
        let buffers = UnsafeMutableRawPointer.allocate(byteCount: 2 * Page.size, alignment: Page.size)
        defer { buffers.deallocate() }
        for run in comparison.runs {
            for page in run.start..<run.end {
                try comparison.read(page, before: buffers, after: buffers + Page.size)
                let (mask, different) = Self.differences(buffers, buffers + Page.size)
                guard different > 0 else { continue }
                bytes += different
                lines.append(Difference.PageLines(page: page, mask: mask))
                if let last = runs.last, last.end == page {
                    runs[runs.count - 1].count += 1
                } else {
                    runs.append(PageRange(start: page, count: 1))
                }
            }
        }
        if runs.isEmpty && sizeBefore == sizeAfter { return nil }
        return Difference(
            name: name, id: comparison.object, kind: sizeBefore == sizeAfter ? .changed : .resized, sizeBefore: sizeBefore,
            sizeAfter: sizeAfter, pages: runs, changedPages: runs.reduce(0) { $0 + $1.count }, changedBytes: bytes, lines: lines)
    }

    /// The lines in which two pages differ, and how many bytes do.
    private static func differences(_ a: UnsafeRawPointer, _ b: UnsafeRawPointer) -> (lines: UInt64, bytes: Int) {
        var mask: UInt64 = 0
        var bytes = 0
        for line in 0..<UInt64.bitWidth {
            let different = differentBytes(a + line * 64, b + line * 64)
            if different > 0 { mask |= 1 << UInt64(line) }
            bytes += different
        }
        return (mask, bytes)
    }

    /// How many of 64 aligned bytes differ.
    private static func differentBytes(_ a: UnsafeRawPointer, _ b: UnsafeRawPointer) -> Int {
        let low: UInt64 = 0x7f7f_7f7f_7f7f_7f7f
        var count = 0
        for offset in stride(from: 0, to: 64, by: 8) {
            let bits = a.load(fromByteOffset: offset, as: UInt64.self) ^ b.load(fromByteOffset: offset, as: UInt64.self)
            // The top bit of each byte that is not 0.
            count += ((((bits & low) &+ low) | bits) & ~low).nonzeroBitCount
        }
        return count
    }

    /// Makes the next version hold what `state` held: all objects and maps, or one object's bytes.
    ///
    /// Nothing in between is lost: it stays in the log, and in the snapshots that name it. Mapped objects show the bytes in
    /// place. Throws `.busy` where something is uncommitted or a mapped object's size would change, `.notRetained`,
    /// `.wrongState` within a transaction or a change of a heap.
    @discardableResult
    public func rollback(to state: State, object: String? = nil, message: String = "") throws(StoreError) -> Version {
        try requireWriter("a rollback")
        try pages.flush()
        let version = try version(of: state)
        return try restoring { () throws(StoreError) in try rollback(to: version, object, message) }
    }

    private func rollback(to version: Version, _ object: String?, _ message: String) throws(StoreError) -> Version {
        try withMemory { (memory) throws(StoreError) in
            try checkOpen(memory)
            guard try !hasUncommittedChanges(memory) else {
                throw StoreError(
                    .busy, "there are uncommitted changes", advice: "Commit or abandon them, then roll back", path: path)
            }
            let plan = try rollbackPlan(to: version, object: object, memory)
            guard !plan.operations.isEmpty else { return pages.lastVersion }
            let text = message.isEmpty ? "roll back to \(version)" : message
            let made = try pages.commit([], operations: plan.operations + [.message(text)], restored: plan.restored)
            memory.shownBySavedTasks = nil
            for (id, runs) in plan.restores {
                guard let mapped = memory.mapped[id] else { continue }
                mapped.storePager?.attach(try pages.head(of: id))
                mapped.needsView = false
                try mapped.restore(runs)
            }
            return made
        }
    }

    /// Comparisons that a rollback keeps at a time: each has two leases.
    private static let mostRestored = 64

    private func rollbackPlan(to version: Version, object: String?, _ memory: Memory) throws(StoreError)
        -> (operations: [StoreOperation], restores: [(ObjectID, [PageRange])], restored: [ObjectComparison])
    {
        var operations: [StoreOperation] = []
        var restores: [(ObjectID, [PageRange])] = []
        var restored: [ObjectComparison] = []
        let targets = if let object {
            [(id: try self.object(named: object, at: version).id, name: object)]
        } else {
            try objectNames(at: version)
        }
        if object == nil {
            // The maps of both states are asked for below.
            try pages.settle()
            try feeder.catchUp()
        }
        let kept = Set(targets.map(\.id))
        var reborn: [ObjectID: ObjectID] = [:]
        if object == nil {
            for info in try pages.objects() where info.isLive && !kept.contains(info.id) {
                try requireUnmapped(info, memory)
                operations.append(.deleteObject(id: info.id))
            }
        }
        for (id, name) in targets {
            guard let info = try pages.object(id), info.isLive else {
                let size = try pages.size(of: id, at: version)
                // Numbers are never used twice: the object comes back under a new one, with the old one's pages.
                let new = ObjectID(pages.newID())
                reborn[id] = new
                let residency = try pages.object(id)?.residency ?? .shared
                operations.append(.createObject(id: new, name: name, size: size, residency: residency))
                operations.append(.lineage(object: new, source: id, sourceVersion: version, size: size))
                continue
            }
            if object == nil, info.name != name, !name.isEmpty { operations.append(.renameObject(id: id, name: name)) }
            let comparison = try pages.compare(id, version, with: pages.lastVersion)
            guard !comparison.runs.isEmpty || comparison.sizeBefore != comparison.sizeAfter else { continue }
            if memory.mapped[id] != nil {
                guard comparison.sizeBefore == comparison.sizeAfter else {
                    throw StoreError(
                        .busy, "object '\(info.name)' is mapped and was \(comparison.sizeBefore) bytes long then",
                        advice: "Deallocate its region first", path: path)
                }
                restores.append((id, comparison.runs))
                if restored.count < Self.mostRestored { restored.append(comparison) }
            }
            operations.append(.lineage(object: id, source: id, sourceVersion: version, size: comparison.sizeBefore))
        }
        let renumbered = object == nil ? try renumberedMaps(at: version, reborn) : []
        let mapsDiffer = object == nil ? try tasksDiffer(from: version) : false
        if mapsDiffer || !renumbered.isEmpty {
            guard memory.tasks.isEmpty else {
                throw StoreError(
                    .busy, "the maps of attached tasks would change", advice: "Roll back before attaching tasks, or one object at a time",
                    path: path)
            }
            operations.append(.mapChanges(CatalogChange.encode([.rollback(to: version)] + renumbered)))
        }
        return (operations, restores, restored)
    }

    /// What makes the maps of a past version, which the catalog knows, show objects under the numbers that they have from now on.
    private func renumberedMaps(at version: Version, _ numbers: [ObjectID: ObjectID]) throws(StoreError) -> [CatalogChange] {
        var changes: [CatalogChange] = []
        for task in try catalog.tasks(at: version) {
            for old in try catalog.entries(of: task.id, at: version) {
                guard let object = old.object, let number = numbers[object] else { continue }
                var entry = old
                entry.object = number
                changes.append(.setEntries(task: task.id, start: entry.start, end: entry.end, entries: [entry]))
            }
        }
        return changes
    }

    /// Whether a task's map is another than at `version`; the catalog knows both.
    private func tasksDiffer(from version: Version) throws(StoreError) -> Bool {
        let before = try catalog.tasks(at: version)
        let now = try catalog.tasks()
        guard before.map(\.id) == now.map(\.id) else { return true }
        for task in now where try catalog.entries(of: task.id, at: version) != catalog.entries(of: task.id) { return true }
        return false
    }

    /// Makes a new object that holds what `reference` does, by one small record; neither sees the other's later writes.
    @discardableResult
    public func clone(_ reference: ObjectReference, as name: String, message: String = "") throws(StoreError) -> ObjectInfo {
        try ForkedChild.refuse()
        try requireWriter("a clone")
        try pages.flush()
        let version = try version(of: reference.state)
        let source = reference.state == .head ? try liveObject(reference.name) : try object(named: reference.name, at: version)
        let size = try pages.size(of: source.id, at: version)
        let id = ObjectID(pages.newID())
        _ = try commitOperations(
            [
                .createObject(id: id, name: name, size: size, residency: source.residency),
                .lineage(object: id, source: source.id, sourceVersion: version, size: size),
            ], message: message.isEmpty ? "clone \(source.name)@\(version) as \(name)" : message)
        return try pages.object(id)!
    }
}
