internal import Catalog
public import HostMemory
public import PageStore
internal import Synchronization
public import VMTypes

/// A store: memory objects, the tasks that map them, every version that is kept, and the way from one to the next.
///
/// One process at a time writes; any number read. Thread-safe: map changes and commits are serialized by one lock, which
/// memory accesses never take. Bytes that another thread stores during a commit land in it or in the next one.
///
/// ```swift
/// try Store.create("data.varve")
/// let store = try Store.open("data.varve")
/// let object = try store.createObject(named: "counter", size: 4096)
/// let task = try store.task(named: "main")
/// let address = try task.map(size: 4096, object: object)
/// task.pointer(address).storeBytes(of: 1, as: Int.self)
/// try store.commit(message: "count")
/// try store.close()
/// ```
public final class Store: @unchecked Sendable {
    /// The store's folder.
    public let path: String
    /// False: another process writes; snapshots, their deletion and upkeep are asked of it.
    public var isWriter: Bool { pages.isWriter }
    /// Names the store in all its files.
    public var uuid: String { pages.uuid.description }
    /// What opening had to do.
    public var recovery: RecoveryReport { pages.recovery }
    /// How this process finds dirty pages.
    public let tracking: DirtyTracking
    /// Whether pages come when they are touched rather than when they are mapped.
    public let demandFill: Bool

    let pages: PageStore
    let catalog: Catalog
    let feeder: CatalogFeeder
    let checksOnMap: Bool
    let client: ControlClient?
    let server = Mutex<ControlServer?>(nil)
    let openingParts = Mutex(OpeningTimes())
    /// Objects of memory entries that are no more.
    let handlesToRelease = Mutex<[ObjectID]>([])
    let memoryUser = Mutex(WeakMemoryUser())
    let residencyKeeper: ResidencyKeeper
    /// Where memory goes that is traded: the store's folder, whatever the working directory becomes.
    let shadowHome: ShadowHome
    private let mutex = Mutex(())
    private var memory = Memory()

    init(path: String, pages: PageStore, catalog: Catalog, client: ControlClient?, options: OpenOptions) {
        self.path = path
        self.pages = pages
        self.catalog = catalog
        self.client = client
        tracking = options.tracking ?? HostCapabilities.current.preferredTracking
        demandFill = options.demandFill ?? HostCapabilities.current.demandFaults
        checksOnMap = options.checksOnMap
        residencyKeeper = ResidencyKeeper(options.residency)
        // Settling needs room for what the ring holds, so that the ring is not full too where trading has filled the disk.
        shadowHome = ShadowHome(folder: HostFiles.absolute(path), reserve: UInt64(pages.ringBytes + PageStore.batchBytes))
        feeder = CatalogFeeder(pages: pages, catalog: catalog)
    }

    /// Shorter runs of the page store's file are filled when they are touched, which a fault or two do, or copied: a mapping of
    /// its own costs several system calls for each.
    var leastMappedRun: Int { demandFill ? 64 : 16 }

    /// Runs `body` under the store's lock.
    func withMemory<Result, Failure: Error>(_ body: (inout Memory) throws(Failure) -> Result) throws(Failure) -> Result {
        if ForkedChild.isCurrent {
            // What the parent had is not the child's: every call finds a store that is closed.
            var none = Memory()
            none.isClosed = true
            return try body(&none)
        }
        mutex._unsafeLock()
        defer { mutex._unsafeUnlock() }
        return try body(&memory)
    }

    /// Holds the store's lock across a fork.
    func lockForFork() -> Memory {
        mutex._unsafeLock()
        return memory
    }

    func unlockAfterFork() { mutex._unsafeUnlock() }

    func requireWriter(_ what: String) throws(StoreError) {
        try ForkedChild.refuse()
        guard isWriter else {
            let writer = try pages.writerProcess()
            throw StoreError(
                .locked, "\(what) needs the writer's lock, which process \(writer.map(String.init) ?? "unknown") holds",
                advice: "Do it there, or when that process has closed the store", path: path)
        }
    }

    /// Closes the store: settles what the journal holds and gives up the lock. Uncommitted changes are lost, as in a crash.
    ///
    /// Memory that tasks mapped is unmapped. A writer that is not closed stays open as long as the process; closing again
    /// does nothing. Where settling fails (a full disk), nothing is lost: the next opening recovers.
    public func close() throws(StoreError) {
        try ForkedChild.refuse()
        let tasks: [VMTask]? = withMemory { memory in
            if memory.isClosed { return nil }
            memory.isClosed = true
            for object in memory.mapped.values { object.unmapAll() }
            memory.mapped = [:]
            memory.carried = [:]
            memory.created = []
            memory.deleted = []
            defer { memory.tasks = [:] }
            return Array(memory.tasks.values)
        }
        guard let tasks else { return }
        for task in tasks { task.window.release() }
        let server = server.withLock { server in
            defer { server = nil }
            return server
        }
        server?.stop()
        defer { catalog.close() }
        guard isWriter else {
            try pages.close()
            return
        }
        var heard: Version?
        let failure: StoreError?
        do throws(StoreError) {
            try pages.settle()
            try feeder.catchUp()
            heard = try feeder.heard()
            failure = nil
        } catch { failure = error }
        pages.afterSettling(nil)
        try pages.close(forgettingOutboxThrough: heard)
        if let failure { throw failure }
    }
}
