internal import Catalog
internal import Glibc
internal import HostMemory
public import PageStore
public import VMTypes

extension Store {
    /// An object in some state.
    public struct ObjectSummary: Hashable, Sendable {
        public var id: ObjectID
        /// Empty for an object without a name.
        public var name: String
        /// Bytes.
        public var size: UInt64
        public var residency: Residency
        public var born: Version
        /// Pages that hold data.
        public var pagesWritten: Int
    }

    /// The objects of a state, by name.
    public func objects(at state: State = .head) throws(StoreError) -> [ObjectSummary] {
        let version = try version(of: state)
        var found: [ObjectSummary] = []
        for (id, name) in try objectNames(at: version) {
            guard let info = try pages.object(id) else { continue }
            let view = state == .head ? try pages.head(of: id) : try pages.view(of: id, at: version)
            let written = view.extents(in: PageRange(start: 0, count: view.pageCount)).reduce(0) {
                $0 + ($1.extent == .zeros ? 0 : $1.pages.count)
            }
            found.append(
                ObjectSummary(
                    id: id, name: name, size: view.size, residency: info.residency, born: info.born, pagesWritten: written))
        }
        return found.sorted { ($0.name, $0.id) < ($1.name, $1.id) }
    }

    /// The live object of that name, or of that number where the name is `#` and digits. Throws `.notFound`.
    public func object(named name: String) throws(StoreError) -> ObjectInfo { try liveObject(name) }

    /// Bytes of an object's largest size: 2^32 pages.
    public static let maximumObjectSize: UInt64 = 1 << 44

    /// Makes an object of zeros and commits that. Throws `.exists`, `.invalid` (name or size), `.full`.
    @discardableResult
    public func createObject(
        named name: String, size: UInt64, residency: Residency = .shared, message: String = ""
    ) throws(StoreError) -> ObjectInfo {
        try checkSize(size)
        try requireWriter("a new object")
        guard !name.isEmpty else { throw StoreError(.invalid, "an object needs a name", path: path) }
        let id = ObjectID(pages.newID())
        _ = try commitOperations([.createObject(id: id, name: name, size: size, residency: residency)], message: message)
        return try pages.object(id)!
    }

    func checkSize(_ size: UInt64) throws(StoreError) {
        guard size <= Self.maximumObjectSize else {
            throw StoreError(
                .invalid, "\(size) bytes are more than an object's \(Self.maximumObjectSize)", advice: "Give a smaller size", path: path)
        }
    }

    /// Changes an object's size and commits that. What is cut off is gone from this version on; what is added is zeros.
    ///
    /// Throws `.busy` where the object is mapped, `.notFound`, `.invalid`.
    @discardableResult
    public func resizeObject(_ name: String, to size: UInt64, message: String = "") throws(StoreError) -> Version {
        try checkSize(size)
        try requireWriter("a new size")
        return try withMemory { (memory) throws(StoreError) in
            let info = try liveObject(name)
            try requireUnmapped(info, memory)
            let operations = [StoreOperation.resizeObject(id: info.id, size: size)] + (message.isEmpty ? [] : [.message(message)])
            guard size < info.size else {
                return try pages.commit([emptyLayer(info.id, size: size, floor: .max)], operations: operations)
            }
            // The last page's cut-off bytes must read as zeros if the object grows again.
            let keep = Int(size) >> Page.shift
            let buffer = UnsafeMutableRawPointer.allocate(byteCount: Page.size, alignment: Page.size)
            defer { buffer.deallocate() }
            let floor = UInt32(Page.count(forBytes: Int(size)))
            guard size % UInt64(Page.size) != 0 else {
                return try pages.commit([emptyLayer(info.id, size: size, floor: floor)], operations: operations)
            }
            try pages.head(of: info.id).read(PageRange(start: keep, count: 1), into: buffer)
            let origin = UnsafeRawPointer(bitPattern: UInt(bitPattern: buffer) &- UInt(keep * Page.size))!
            return try pages.commit(
                [
                    LayerInput(
                        object: info.id, size: size, floorPage: floor, runs: [PageRange(start: keep, count: 1)], origin: origin)
                ], operations: operations)
        }
    }

    func emptyLayer(_ id: ObjectID, size: UInt64, floor: UInt32) -> LayerInput {
        LayerInput(object: id, size: size, floorPage: floor, runs: [], origin: UnsafeRawPointer(bitPattern: 4096)!)
    }

    func requireUnmapped(_ info: ObjectInfo, _ memory: Memory) throws(StoreError) {
        guard memory.mapped[info.id] == nil, memory.carried[info.id] == nil, !memory.deleted.contains(info.id) else {
            throw StoreError(
                .busy, "object '\(info.name)' is mapped, or has changes that are not committed",
                advice: "Deallocate its region and commit first", path: path)
        }
    }

    @discardableResult
    public func renameObject(_ name: String, to newName: String, message: String = "") throws(StoreError) -> Version {
        try requireWriter("a new name")
        guard !newName.isEmpty else { throw StoreError(.invalid, "an object needs a name", path: path) }
        return try withMemory { (memory) throws(StoreError) in
            let info = try liveObject(name)
            guard !memory.deleted.contains(info.id) else {
                throw StoreError(
                    .busy, "object \(info.id) ends with the next commit", advice: "Commit or abandon first", path: path)
            }
            return try commitOperations([.renameObject(id: info.id, name: newName)], message: message)
        }
    }

    /// Deletes an object from the next version on; snapshots and kept versions still hold it.
    ///
    /// - Parameter unmapping: Whether the regions of saved tasks that show it go with it. Else the object lives while one does.
    /// - Throws: `.busy` where it is mapped, in a task that is attached or, without `unmapping`, in one that is saved: the error names
    ///   task and address; `.notFound`.
    @discardableResult
    public func deleteObject(_ name: String, unmapping: Bool = false, message: String = "") throws(StoreError) -> Version {
        try requireWriter("a deletion")
        return try withMemory { (memory) throws(StoreError) in
            let info = try liveObject(name)
            try requireUnmapped(info, memory)
            var operations = [StoreOperation.deleteObject(id: info.id)]
            let entries = try savedEntries(showing: info.id)
            // What an attached task has uncommitted can be abandoned.
            if let entry = entries.first(where: { !unmapping || memory.tasks[$0.task] != nil || memory.terminated[$0.task] != nil }) {
                var task = memory.tasks[entry.task]?.name ?? memory.terminated[entry.task]
                if task == nil { task = try savedTask(entry.task)?.name }
                throw StoreError(
                    .busy,
                    "object '\(info.name)' is mapped at 0x\(String(entry.start, radix: 16)) by task '\(task ?? "\(entry.task)")', as the last"
                        + " commit left it",
                    advice: "Deallocate the region and commit, or delete it together with the regions that show it (`varve rm --unmap`)", path: path)
            }
            if !entries.isEmpty {
                let changes = entries.map { CatalogChange.setEntries(task: $0.task, start: $0.start, end: $0.end, entries: []) }
                operations.append(.mapChanges(CatalogChange.encode(changes)))
                memory.shownBySavedTasks = nil
            }
            return try commitOperations(operations, message: message)
        }
    }

    /// An object's state read-only in memory; unmapped with its last reference.
    public final class MappedState: Sendable {
        /// Its bytes, valid only while the state lives, which may end with the last use of it: prefer `withBytes`.
        public var bytes: UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: UInt(window.base)), count: Int(view.size))
        }
        private let window: AddressWindow
        private let mapping: ExclusiveMapping?
        private let view: ObjectView

        init(store: Store, view: ObjectView) throws(StoreError) {
            self.view = view
            let count = max(1, view.pageCount)
            window = try AddressWindow(base: nil, byteCount: count * Page.size)
            let pager = StorePager(view: view, size: view.size, fileDescriptor: view.fileDescriptor)
            mapping =
                view.pageCount == 0
                ? nil
                : try ExclusiveMapping(
                    address: window.base, pages: PageRange(start: 0, count: count), provider: pager, writable: false,
                    demandFill: store.demandFill)
        }

        /// Runs `body` with the state's bytes, which stay mapped meanwhile.
        public func withBytes<Result, Failure: Error>(
            _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
        ) throws(Failure) -> Result {
            defer { withExtendedLifetime(self) {} }
            return try body(bytes)
        }

        deinit {
            mapping?.unmap()
            window.release()
        }
    }

    /// Maps a kept version or snapshot of an object, or its last commit, read-only, at an address that the system chooses.
    ///
    /// Its bytes never change while the result lives. With `OpenOptions.checksOnMap` every page is checked first: `.damaged`.
    /// Without, pages that lie in a long run in the store's file are mapped unchecked, and read as the disk has them, damaged or
    /// not; all others are checked when they are touched, where damaged ones raise SIGBUS, or, without demand filling, by this
    /// call. What the disk can't read raises SIGBUS. Throws `.notFound`, `.notRetained`, `.full`, `.io`, too.
    public func mapState(_ reference: ObjectReference) throws(StoreError) -> MappedState {
        while true {
            let view = try pinned(reference).view
            if checksOnMap { try checkAll(view) }
            let mapped = try MappedState(store: self, view: view)
            if view.isCurrent || !isWriter { return mapped }
        }
    }
}
