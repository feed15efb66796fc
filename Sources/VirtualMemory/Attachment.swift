internal import Glibc
internal import HostMemory
internal import PageStore
internal import Synchronization
internal import VMTypes

/// The processes that are attached to a store's writer, each answered by a thread of its own.
final class Attachments: Sendable {
    private struct State {
        var all: [Attachment] = []
        var isClosed = false
    }

    /// The most processes; more are refused.
    private static let limit = 256
    private let state = Mutex(State())

    var counts: (processes: Int, ports: Int) {
        state.withLock { state in (state.all.count, state.all.reduce(0) { $0 + $1.portCount }) }
    }

    /// The sockets, for a forked child to close.
    var descriptors: [Int32] { state.withLock { $0.all.map(\.descriptor) } }

    /// Takes a connection and answers it until it ends; a copy of `descriptor` is made.
    func add(_ descriptor: Int32, store: Store, mayWrite: Bool, _ inherited: InheritedTask? = nil) throws(StoreError) {
        let own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard own >= 0 else { throw HostFiles.error("keep the connection", store.path, errno) }
        let attachment = Attachment(descriptor: own, store: store, mayWrite: mayWrite, all: self, inherited)
        let isTaken = state.withLock { state in
            guard !state.isClosed, state.all.count < Self.limit else { return false }
            state.all.append(attachment)
            return true
        }
        guard isTaken else {
            close(own)
            throw StoreError(
                .full, "\(Self.limit) processes are attached to the store already", advice: "Close one of them", path: store.path)
        }
        guard attachment.start() else {
            remove(attachment)
            close(own)
            throw HostFiles.error("start a thread for the connection", store.path, EAGAIN)
        }
    }

    /// Forgets a connection that has ended; false where `stop` waits for its thread.
    @discardableResult
    func remove(_ attachment: Attachment) -> Bool {
        state.withLock { state in
            guard !state.isClosed else { return false }
            state.all.removeAll { $0 === attachment }
            return true
        }
    }

    /// Ends every connection and waits for the threads; requests that are being answered are finished.
    func stop() {
        let all = state.withLock { state in
            state.isClosed = true
            return state.all
        }
        for attachment in all { attachment.stop() }
    }
}

/// One process that is attached to a store's writer, with the ports that it was given.
final class Attachment: @unchecked Sendable {
    private enum Phase { case running, ended }

    let descriptor: Int32
    private let store: Store
    private let mayWrite: Bool
    private let all: Attachments
    /// What each port shows; only the thread changes it.
    private let ports = Mutex<[UInt64: ObjectID]>([:])
    private let phase = Mutex(Phase.running)
    private var lastPort: UInt64 = 0
    private var thread = pthread_t()
    /// What waits for a program that was started.
    private let inherited: InheritedTask?

    /// The most ports that a process may have.
    private static let portLimit = 4096
    /// Seconds that a client has for the whole of a request, once its first byte is there.
    private static let patience = 5

    /// The most regions in an answer: a line has 64 KiB.
    private static let regionLimit = 100

    init(descriptor: Int32, store: Store, mayWrite: Bool, all: Attachments, _ inherited: InheritedTask?) {
        self.descriptor = descriptor
        self.store = store
        self.mayWrite = mayWrite
        self.all = all
        self.inherited = inherited
        if let inherited {
            ports.withLock { $0 = inherited.ports }
            lastPort = UInt64(inherited.ports.count)
        }
    }

    var portCount: Int { ports.withLock { $0.count } }

    func start() -> Bool {
        ControlSocket(descriptor: descriptor).setTimeout(seconds: Self.patience)
        let context = Unmanaged.passRetained(self).toOpaque()
        guard pthread_create(&thread, nil, runAttachment, context) == 0 else {
            Unmanaged<Attachment>.fromOpaque(context).release()
            return false
        }
        return true
    }

    /// Ends the connection and waits for its thread.
    func stop() {
        // The thread closes the descriptor under the same lock.
        phase.withLock { if $0 == .running { _ = shutdown(descriptor, Int32(SHUT_RDWR)) } }
        pthread_join(thread, nil)
    }

    fileprivate func serve() {
        let stream = MessageStream(socket: descriptor)
        while stream.waitForLine(),
            let received = try? stream.receive(AttachmentRequest.self, until: .now + .seconds(Self.patience))
        {
            if let stray = received.descriptor { close(stray) }
            guard (try? answer(received.message, stream)) == true else { break }
        }
        // Its memory is gone, or it has given it up: what it stored is found now.
        store.takeBack(ports.withLock { ports in
            defer { ports = [:] }
            return Array(ports.values)
        })
        phase.withLock { phase in
            phase = .ended
            close(descriptor)
        }
        if all.remove(self) { pthread_detach(pthread_self()) }
    }

    /// False, or an error, where the connection is of no use any more.
    private func answer(_ request: AttachmentRequest, _ stream: MessageStream) throws(StoreError) -> Bool {
        var response = AttachmentResponse()
        do throws(StoreError) {
            switch request.kind {
            case .object: return try answerWithPort(request, stream)
            case .release:
                guard let port = request.port, let id = ports.withLock({ $0.removeValue(forKey: port) }) else { return false }
                store.takeBack([id])
                return true
            case .commit:
                try requireWriting("a commit")
                response.version = try store.commit(
                    message: request.message ?? "", durability: request.isDeferred == true ? .deferred : .synced,
                    mayTrade: false).rawValue
            case .createSnapshot:
                try requireWriting("a snapshot")
                response.version = try store.commit(
                    message: request.message ?? "", snapshot: request.name ?? "", mayTrade: false).rawValue
            case .inherit:
                guard let inherited else { return false }
                response.path = HostFiles.absolute(store.path)
                response.windowBase = inherited.windowBase
                response.windowSize = inherited.windowSize
                response.regions = Array(inherited.regions.dropFirst(max(0, request.first ?? 0)).prefix(Self.regionLimit))
                response.regionCount = inherited.regions.count
            case .file:
                guard let file = inherited?.take(request.file ?? -1) else { return false }
                defer { close(file.descriptor) }
                response.pages = file.pageCount
                response.writes = file.isWritable
                try stream.send(response, descriptor: file.descriptor)
                return true
            }
        } catch { response = AttachmentResponse(error) }
        try stream.send(response)
        return true
    }

    private func answerWithPort(_ request: AttachmentRequest, _ stream: MessageStream) throws(StoreError) -> Bool {
        let writes = request.writes == true
        if writes { try requireWriting("a port to write") }
        guard portCount < Self.portLimit else {
            throw StoreError(.full, "the process has \(Self.portLimit) ports already", advice: "Let go of some", path: store.path)
        }
        let given = try store.give(request.name ?? "", writes: writes)
        defer { close(given.descriptor) }
        lastPort += 1
        ports.withLock { $0[lastPort] = given.info.id }
        var response = AttachmentResponse()
        response.port = lastPort
        response.object = given.info.id.rawValue
        response.size = given.info.size
        response.pages = given.pages
        try stream.send(response, descriptor: given.descriptor)
        return true
    }

    private func requireWriting(_ what: String) throws(StoreError) {
        guard mayWrite else {
            throw StoreError(
                .readOnly, "\(what) is for the user who serves the store, and root", advice: "Ask for a port to read", path: store.path)
        }
    }
}

private func runAttachment(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<Attachment>.fromOpaque(context!).takeRetainedValue().serve()
    return nil
}
