internal import Glibc
internal import Synchronization
public import VMTypes

/// Who pins what: a slot a lease, each under an open-file-description lock that the kernel drops with its last holder.
///
/// The first page of the file is the writer's: its lock is the store's. Layout in docs/FORMAT.md.
final class LeaseFile: @unchecked Sendable {
    static let slotSize = 64
    static let slotCount = 4032
    static let fileSize = Page.size + slotSize * slotCount
    private static let magic: UInt64 = 0x5341_454c_5652_4156  // "VARVLEAS"

    private let file: File
    /// The writer's lock is this descriptor's, so that a forked child can give it up and keep the leases.
    private let writing = Mutex<File?>(nil)
    private let used: Mutex<Set<Int>>

    static func create(path: String) throws(StoreError) {
        let file = try File(path, O_RDWR | O_CREAT | O_EXCL)
        try file.allocate(offset: 0, count: fileSize)
        try file.sync()
    }

    init(path: String) throws(StoreError) {
        file = try File(path, O_RDWR | O_CREAT)
        if try file.size() < Self.fileSize { try file.allocate(offset: 0, count: Self.fileSize) }
        used = Mutex([])
    }

    /// Takes the writer's lock; false where another process has it.
    ///
    /// One that has it for a moment only is waited for, ten seconds at most: it may be a command that looks at the store.
    func lockWriter(briefly: Bool = false) throws(StoreError) -> Bool {
        let own = try File(file.path, O_RDWR)
        var waits = 0
        while try !own.lock(byte: 0, Int32(F_WRLCK)), !Mutant.isPlanted(.writersLockIgnored) {
            guard try isWriterBrief(), waits < 5000 else { return false }
            waits += 1
            usleep(2000)
        }
        writing.withLock { $0 = own }
        try write(slot: [Self.magic, UInt64(getpid()), briefly ? 1 : 0, 0, 0, 0, 0, 0], at: 0)
        return true
    }

    func unlockWriter() {
        writing.withLock { own in
            // A copy of the descriptor that is on its way through an exec must not keep the lock.
            if let own, !ForkedChild.isCurrent {
                try? write(slot: [UInt64](repeating: 0, count: 8), at: 0)
                _ = try? own.lock(byte: 0, Int32(F_UNLCK))
            }
            own = nil
        }
    }

    /// True where the writer is one for a moment only, or is about to write down what it is.
    private func isWriterBrief() throws(StoreError) -> Bool {
        let slot = try read(at: 0)
        return slot[1] == 0 || slot[2] == 1
    }

    /// What holds the writer's lock.
    var writerDescriptor: Int32? { writing.withLock { $0?.descriptor } }

    /// The process id that the present writer wrote down, where there is one.
    func writer() throws(StoreError) -> Int32? {
        guard try file.isLockedElsewhere(byte: 0) else { return nil }
        return Int32(truncatingIfNeeded: try read(at: 0)[1])
    }

    func close() { file.close() }

    /// Pins `object` (nil: every object) at `version`: what is mapped or read through it stays.
    func acquire(object: ObjectID?, version: Version, epoch: UInt64, horizon: UInt64) throws(StoreError) -> Lease {
        Lease(owner: self, slot: try take(object: object, version: version, epoch: epoch, horizon: horizon))
    }

    /// The same, for as long as a copy of the file's descriptor lives.
    private func take(object: ObjectID?, version: Version, epoch: UInt64, horizon: UInt64) throws(StoreError) -> Int {
        try ForkedChild.refuse()
        for slot in 0..<Self.slotCount {
            guard used.withLock({ $0.insert(slot).inserted }) else { continue }
            let byte = Page.size + slot * Self.slotSize
            guard try file.lock(byte: byte, Int32(F_WRLCK)) else {
                _ = used.withLock { $0.remove(slot) }
                continue
            }
            try write(
                slot: [Self.magic, object?.rawValue ?? 0, version.rawValue, epoch, horizon, UInt64(getpid()), 0, 0], at: byte)
            return slot
        }
        throw StoreError(
            .full, "all \(Self.slotCount) leases of the store are taken", advice: "Close some readers", path: file.path)
    }

    /// A descriptor whose leases are those of `views`, for whom it is handed to.
    func descriptor(pinning views: [ObjectView]) throws(StoreError) -> Int32 {
        for view in views {
            // What is pinned are places: whose pages an object shows is not asked, and all are kept.
            _ = try take(object: nil, version: view.version, epoch: view.epoch, horizon: view.horizon)
        }
        let copy = fcntl(file.descriptor, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw File.error("copy the descriptor of", file.path, errno) }
        return copy
    }

    fileprivate func release(_ slot: Int) {
        // A forked child shares the lock with its parent.
        guard !ForkedChild.isCurrent else { return }
        let byte = Page.size + slot * Self.slotSize
        try? write(slot: [UInt64](repeating: 0, count: 8), at: byte)
        _ = try? file.lock(byte: byte, Int32(F_UNLCK))
        _ = used.withLock { $0.remove(slot) }
    }

    /// Every lease that a living process holds.
    func all() throws(StoreError) -> [LeaseInfo] {
        let bytes = AlignedBuffer(capacity: Self.fileSize)
        try file.read(into: bytes[0..<Self.fileSize], at: 0)
        var found: [LeaseInfo] = []
        let mine = used.withLock { $0 }
        for slot in 0..<Self.slotCount {
            let byte = Page.size + slot * Self.slotSize
            let p = bytes.base + byte
            func field(_ i: Int) -> UInt64 { UInt64(littleEndian: p.load(fromByteOffset: i * 8, as: UInt64.self)) }
            guard field(0) == Self.magic else { continue }
            if !mine.contains(slot) {
                guard try file.isLockedElsewhere(byte: byte), !Mutant.isPlanted(.foreignLeasesIgnored) else { continue }
            }
            found.append(
                LeaseInfo(
                    process: Int32(truncatingIfNeeded: field(5)), object: field(1) == 0 ? nil : ObjectID(field(1)),
                    version: Version(field(2)), epoch: field(3), horizon: field(4)))
        }
        return found
    }

    private func write(slot: [UInt64], at offset: Int) throws(StoreError) {
        var writer = ByteWriter()
        for field in slot { writer.put(field) }
        var failure: StoreError?
        writer.bytes.withUnsafeBytes { raw in
            do throws(StoreError) { try file.write(raw, at: offset) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    private func read(at offset: Int) throws(StoreError) -> [UInt64] {
        let buffer = AlignedBuffer(capacity: Self.slotSize)
        try file.read(into: buffer[0..<Self.slotSize], at: offset)
        return (0..<8).map { UInt64(littleEndian: buffer.base.load(fromByteOffset: $0 * 8, as: UInt64.self)) }
    }

    /// A lease that this process holds; dropped with its last reference.
    final class Lease: Sendable {
        private let owner: LeaseFile
        private let slot: Int

        fileprivate init(owner: LeaseFile, slot: Int) {
            self.owner = owner
            self.slot = slot
        }

        deinit { owner.release(slot) }
    }
}

/// A version that a living process pins.
public struct LeaseInfo: Hashable, Sendable {
    public var process: Int32
    /// nil: every object.
    public var object: ObjectID?
    public var version: Version
    /// Records that went out of use at a later epoch, and whose number is below `horizon`, may be mapped through it.
    public var epoch: UInt64
    public var horizon: UInt64

    /// True where pages of a record that went out of use in `epoch`, the newest of version `last`, may be mapped through it.
    func pins(_ object: ObjectID, record: UInt64, last: Version, diedIn epoch: UInt64) -> Bool {
        guard self.epoch < epoch, record < horizon, self.object == nil || self.object == object else { return false }
        // Another process's is of one state, and has nothing of layers above it.
        return horizon != .max || last <= version
    }
}
