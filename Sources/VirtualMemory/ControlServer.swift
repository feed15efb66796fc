internal import Glibc
internal import PageStore
internal import Synchronization
internal import VMTypes

/// Answers other processes for a store's writer, on a thread of its own, one request after the other.
///
/// The user that this process runs as and root are answered; others may be admitted to attach, and read. A client that ends, is silent or sends slowly costs at most its time-out.
/// It keeps the store until it is stopped: a writer that nobody closed goes on answering.
final class ControlServer: Sendable {
    private let store: Store
    private let descriptor: Int32
    private let path: String
    /// Processes that stay connected.
    let attachments = Attachments()
    private let audience = Mutex(Store.Audience.owner)
    private let isStopped = Atomic<Bool>(false)
    private let thread = Mutex<pthread_t?>(nil)
    /// Whom the thread listens to now.
    private let peer = Mutex<Int32?>(nil)
    /// Seconds that a client has for its request.
    private static let patience = 5

    /// Answers whom `listener` hears, which is the server's from now on; where this throws, it is closed.
    init(store: Store, listener: ControlListener) throws(StoreError) {
        self.store = store
        path = listener.path
        descriptor = listener.descriptor
        guard listen(descriptor, 16) == 0 else {
            let code = errno
            listener.close()
            throw HostFiles.error("listen on the control socket", path, code)
        }
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        guard pthread_create(&thread, nil, runControlServer, context) == 0 else {
            Unmanaged<ControlServer>.fromOpaque(context).release()
            listener.close()
            throw HostFiles.error("start the control thread", path, EAGAIN)
        }
        self.thread.withLock { $0 = thread }
    }

    /// Ends the thread and waits for it; a request that is being answered is finished, one that is not yet there is not
    /// waited for.
    func stop() {
        guard !isStopped.exchange(true, ordering: .sequentiallyConsistent) else { return }
        unlink(path)
        shutdown(descriptor, Int32(SHUT_RDWR))
        peer.withLock { if let peer = $0 { _ = shutdown(peer, Int32(SHUT_RD)) } }
        if let thread = thread.withLock({ $0 }) { pthread_join(thread, nil) }
        attachments.stop()
        close(descriptor)
    }

    fileprivate func serve() {
        while !isStopped.load(ordering: .sequentiallyConsistent) {
            let peer = accept(descriptor, nil, nil)
            if peer < 0 {
                if errno == EINVAL || errno == EBADF { break }
                // Out of descriptors or memory for now: whoever asks waits.
                if errno != EINTR && errno != ECONNABORTED { HostFiles.sleep(milliseconds: 50) }
                continue
            }
            _ = fcntl(peer, F_SETFD, FD_CLOEXEC)
            self.peer.withLock { $0 = peer }
            if !isStopped.load(ordering: .sequentiallyConsistent) { answer(ControlSocket(descriptor: peer)) }
            self.peer.withLock { $0 = nil }
            close(peer)
        }
    }

    /// The sockets, for a forked child to close: it must not keep those open whose server is gone.
    var descriptors: [Int32] { [descriptor] + (peer.withLock { $0 }.map { [$0] } ?? []) + attachments.descriptors }

    /// Chooses who may attach.
    func admit(_ audience: Store.Audience) throws(StoreError) {
        var folder = stat()
        guard stat(store.path, &folder) == 0 else { throw HostFiles.error("look at the store's folder", store.path, errno) }
        let mode: mode_t = audience == .groupReads ? 0o660 : 0o600
        // The group first: nobody of another one is let in meanwhile.
        if audience == .groupReads, chown(path, uid_t.max, folder.st_gid) != 0 {
            throw HostFiles.error("give the control socket to the folder's group", path, errno)
        }
        guard chmod(path, mode) == 0 else { throw HostFiles.error("set the control socket's mode", path, errno) }
        self.audience.withLock { $0 = audience }
    }

    private func answer(_ socket: ControlSocket) {
        socket.setTimeout(seconds: Self.patience)
        guard let user = socket.peerUser else { return }
        let isOwner = user == getuid() || user == 0
        // The kernel lets members of the socket's group connect, and nobody else.
        guard isOwner || audience.withLock({ $0 }) == .groupReads else { return }
        guard let request = socket.receive(ControlRequest.self, withinSeconds: Self.patience) else { return }
        guard isOwner || request.kind == .attach else { return }
        var response: ControlResponse
        do throws(StoreError) {
            if request.kind == .attach {
                // Its thread may send at once: this answer goes first.
                guard socket.send(ControlResponse()) else { return }
                return try attachments.add(socket.descriptor, store: store, mayWrite: isOwner)
            }
            response = try perform(request, store)
        } catch { response = ControlResponse(error) }
        _ = socket.send(response)
    }

    private func perform(_ request: ControlRequest, _ store: Store) throws(StoreError) -> ControlResponse {
        var response = ControlResponse()
        switch request.kind {
        case .attach: break
        case .settle:
            try store.pages.settle()
            try store.feeder.catchUp()
        case .createSnapshot:
            try store.pages.flush()
            let made = try store.createSnapshot(request.name ?? "", object: request.object, message: request.message ?? "")
            response.version = made.version.rawValue
            // Who asked reads what is settled, and may look at the snapshot next.
            try? store.pages.settle()
            try? store.feeder.catchUp()
        case .deleteSnapshot: try store.deleteSnapshot(request.name ?? "")
        case .renameSnapshot: try store.renameSnapshot(request.name ?? "", to: request.newName ?? "")
        case .reclaim: response = ControlResponse(try store.reclaim(dryRun: request.dryRun ?? false))
        case .backup: try store.backup(to: request.name ?? "")
        case .optimize: response = ControlResponse(try store.optimize(request.object))
        case .retain:
            try store.setRetention(Retention(versions: request.versions ?? 0, seconds: request.seconds ?? 0))
        }
        return response
    }
}

private func runControlServer(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Unmanaged<ControlServer>.fromOpaque(context!).takeRetainedValue().serve()
    return nil
}
