internal import Glibc
internal import HostMemory
public import PageStore
internal import Synchronization
public import VMTypes

/// A store that another process serves (`varve serve`, or whatever program is its writer), as this process is attached to
/// it.
///
/// Objects come as memory that all attached processes share: each sees the others' stores at once, and whoever commits,
/// commits what all of them stored. Thread-safe. Every request has a deadline. Where the serving process ends, calls throw
/// `.io` from then on, and what is mapped stays as it is: nobody commits it any more. A forked child of the process that
/// connected is not attached: its calls throw `.wrongState`.
///
/// ```swift
/// let store = try RemoteStore.connect("data.varve")
/// let counter = try store.object(named: "counter")
/// let task = try store.task()
/// let address = try task.map(size: 4096, object: counter, maximum: .default)
/// task.pointer(address).storeBytes(of: 2, as: Int.self)
/// try store.commit(message: "count from afar")
/// ```
public final class RemoteStore: @unchecked Sendable {
    /// The store's folder.
    public let path: String
    /// How long the serving process may take for an answer.
    public let patience: Duration
    private let generation = ForkedChild.generation

    /// Guarded by `lock`: nil once the connection has ended.
    private var stream: MessageStream?
    private let lock = Mutex(())

    private init(path: String, patience: Duration, stream: MessageStream) {
        self.path = path
        self.patience = patience
        self.stream = stream
    }

    deinit { if let stream { Glibc.close(stream.socket) } }

    /// Attaches to the process that serves the store in a folder.
    ///
    /// - Parameter patience: How long each answer may take; bringing a large object to memory, or committing much, takes
    ///   its time.
    /// - Throws: `.noStore` where there is no such folder, or nobody serves the store in it; `.io` where the serving process
    ///   does not let us in, or does not answer.
    public static func connect(_ path: String, patience: Duration = .seconds(60)) throws(StoreError) -> RemoteStore {
        // The right to search the folder is enough.
        let folder = open(path, 0o10000000 /* O_PATH */ | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else {
            throw StoreError(.noStore, "there is no store here", advice: "`varve init` makes one", path: path, errno: errno)
        }
        defer { Glibc.close(folder) }
        let socket = ControlSocket(descriptor: ControlSocket.make())
        guard socket.descriptor >= 0 else { throw HostFiles.error("make a socket", path, errno) }
        do throws(StoreError) {
            socket.setTimeout(seconds: max(1, Int(patience.components.seconds)))
            guard ControlSocket.withAddress(folder, { Glibc.connect(socket.descriptor, $0, $1) }) == 0 else {
                let code = errno
                if code == ENOENT || code == ECONNREFUSED {
                    throw StoreError(
                        .noStore, "no process serves the store", advice: "Start `varve serve`, or open the store", path: path, errno: code)
                }
                throw HostFiles.error("connect to the process that serves the store", path, code)
            }
            let stream = MessageStream(socket: socket.descriptor)
            let store = RemoteStore(path: path, patience: patience, stream: stream)
            do throws(StoreError) {
                try stream.send(ControlRequest(.attach))
                let answer = try stream.receive(ControlResponse.self, until: .now + patience)
                guard let answer else {
                    throw StoreError(
                        .io, "the process that serves the store refused us", advice: "Run as its user, or let it admit your group",
                        path: path)
                }
                if let failure = answer.message.error { throw StoreError(failure) }
            } catch {
                store.stream = nil
                throw error
            }
            return store
        } catch {
            Glibc.close(socket.descriptor)
            throw error
        }
    }

    /// Takes the connection that this process was started with, and asks for what it inherits; closes it where this throws.
    static func inherited(over socket: Int32, patience: Duration) throws(StoreError) -> (store: RemoteStore, first: AttachmentResponse) {
        do throws(StoreError) {
            let stream = MessageStream(socket: socket)
            try stream.send(AttachmentRequest(.inherit))
            guard let answer = try stream.receive(AttachmentResponse.self, until: .now + patience)?.message else {
                throw StoreError(.io, "The process that started this one has ended, or closed its store", advice: "Start it again")
            }
            if let failure = answer.error { throw StoreError(failure) }
            return (RemoteStore(path: answer.path ?? "", patience: patience, stream: stream), answer)
        } catch {
            Glibc.close(socket)
            throw error
        }
    }

    /// Whether the serving process has not been seen to be gone.
    public var isConnected: Bool {
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        return stream != nil && generation == ForkedChild.generation
    }

    /// An object by its name, for accesses within `rights`.
    ///
    /// The kernel refuses stores through a port without write: the descriptor is for reading only. Between processes of one
    /// user that guards against mistakes, not malice.
    ///
    /// - Throws: `.notFound`; `.unsupported` for an object of exclusive residency, or without a name; `.readOnly` where this
    ///   user may not write; `.full`; `.io` where the serving process is gone or does not answer.
    public func object(named name: String, rights: Protection = .default) throws(StoreError) -> RemoteObject {
        guard rights.isWellFormed, !rights.isEmpty else {
            throw StoreError(.invalid, "rights \(rights.rawValue) are no port's", advice: "Ask for read, or read and write")
        }
        var request = AttachmentRequest(.object)
        request.name = name
        request.writes = rights.contains(.write)
        let (answer, descriptor) = try ask(request)
        guard let descriptor, let port = answer.port, let id = answer.object, let size = answer.size, let pages = answer.pages,
            pages == max(1, Page.count(forBytes: Int(clamping: size)))
        else {
            if let descriptor { Glibc.close(descriptor) }
            throw StoreError(.io, "the process that serves the store sent no port for '\(name)'", path: path)
        }
        let memory = try ForeignMemory(taking: descriptor, pageCount: pages, isWritable: rights.contains(.write))
        return RemoteObject(store: self, port: port, id: ObjectID(id), name: name, size: size, rights: rights, memory: memory)
    }

    /// An empty address space of this process, for mapping objects; it is no part of the store.
    ///
    /// - Parameter windowSize: Bytes of addresses, a multiple of 4,096.
    /// - Throws: `.full` where the process has no such room.
    public func task(windowSize: UInt64 = 64 << 30) throws(StoreError) -> RemoteTask {
        guard generation == ForkedChild.generation else { throw ForkedChild.refusal }
        return try RemoteTask(store: self, windowSize: windowSize)
    }

    /// Has the serving process make the next version of all that any process changed; see `Store.commit`.
    ///
    /// Where the deadline passes or the process ends meanwhile, the error is `.unknownOutcome`: the commit may have been made.
    @discardableResult
    public func commit(message: String = "", durability: Durability = .synced) throws(StoreError) -> Version {
        var request = AttachmentRequest(.commit)
        request.message = message
        request.isDeferred = durability == .deferred
        return try version(request)
    }

    /// Commits, and names the version.
    ///
    /// Throws as `commit` does, and `.exists`, `.invalid` for the name.
    @discardableResult
    public func createSnapshot(_ name: String, message: String = "") throws(StoreError) -> Version {
        var request = AttachmentRequest(.createSnapshot)
        request.name = name
        request.message = message
        return try version(request)
    }

    /// Ends the connection. What is mapped stays mapped, and what was stored until now is part of the next commit.
    public func close() {
        guard generation == ForkedChild.generation else { return }
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        end()
    }

    /// Tells the serving process that a port is no longer used.
    func release(_ port: UInt64) {
        guard generation == ForkedChild.generation else { return }
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        var request = AttachmentRequest(.release)
        request.port = port
        do throws(StoreError) { try stream?.send(request) } catch { end() }
    }

    private func version(_ request: AttachmentRequest) throws(StoreError) -> Version {
        let answer = try ask(request).answer
        guard let version = answer.version else {
            throw StoreError(.io, "the process that serves the store answered without a version", path: path)
        }
        return Version(version)
    }

    func ask(_ request: AttachmentRequest) throws(StoreError) -> (answer: AttachmentResponse, descriptor: Int32?) {
        guard generation == ForkedChild.generation else { throw ForkedChild.refusal }
        lock._unsafeLock()
        defer { lock._unsafeUnlock() }
        guard let stream else {
            throw StoreError(
                .io, "the connection to the process that serves the store has ended", advice: "Connect again", path: path)
        }
        do throws(StoreError) { try stream.send(request) } catch {
            end()
            throw gone("ended", error)
        }
        var received: (message: AttachmentResponse, descriptor: Int32?)?
        var failure: StoreError?
        do throws(StoreError) {
            received = try stream.receive(AttachmentResponse.self, until: .now + patience)
        } catch { failure = error }
        if let (answer, descriptor) = received {
            guard let error = answer.error else { return (answer, descriptor) }
            if let descriptor { Glibc.close(descriptor) }
            throw StoreError(error)
        }
        // An answer that comes late would be taken for the next one.
        end()
        let code: StoreError.Code = [.commit, .createSnapshot].contains(request.kind) ? .unknownOutcome : .io
        throw gone(failure?.errno == ETIMEDOUT ? "did not answer within \(patience)" : "ended before it answered", failure, code)
    }

    private func end() {
        if let stream { Glibc.close(stream.socket) }
        stream = nil
    }

    private func gone(_ how: String, _ cause: StoreError?, _ code: StoreError.Code = .io) -> StoreError {
        StoreError(
            code, "the process that serves the store \(how)", advice: "Connect again when the store is served", path: path,
            errno: cause?.errno)
    }
}

extension StoreError {
    /// An error of the process that was asked.
    init(_ failure: ControlResponse.Failure) {
        self.init(
            Code(rawValue: failure.code) ?? .io, failure.message, advice: failure.advice, path: failure.path, errno: failure.errno)
    }
}

/// A port to an object of a store that another process serves.
///
/// Thread-safe. The serving process keeps the object in memory until the last reference goes; tasks that map it have one.
public final class RemoteObject: Sendable {
    public let id: ObjectID
    public let name: String
    /// Bytes.
    public let size: UInt64
    /// The accesses that a mapping may ever allow.
    public let rights: Protection
    let store: RemoteStore
    let memory: ForeignMemory
    private let port: UInt64

    init(store: RemoteStore, port: UInt64, id: ObjectID, name: String, size: UInt64, rights: Protection, memory: ForeignMemory) {
        self.store = store
        self.port = port
        self.id = id
        self.name = name
        self.size = size
        self.rights = rights
        self.memory = memory
    }

    deinit { store.release(port) }

    /// Pages up to the object's end.
    var livePages: PageRange { PageRange(start: 0, count: Page.count(forBytes: Int(size))) }
}
