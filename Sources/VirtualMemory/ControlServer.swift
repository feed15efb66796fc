internal import Glibc
internal import PageStore
internal import Synchronization
internal import VMTypes

/// Answers other processes for a store's writer, on a thread of its own, one request after the other.
///
/// Only the store's owner and root are answered. A client that ends or is silent costs at most its time-out.
final class ControlServer: Sendable {
    private weak let store: Store?
    private let descriptor: Int32
    private let path: String
    private let isStopped = Atomic<Bool>(false)

    init(store: Store) throws(StoreError) {
        self.store = store
        path = store.path + "/" + StoreFile.control
        let directory = open(store.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw HostFiles.error("open the store's folder", store.path, errno) }
        defer { close(directory) }
        descriptor = ControlSocket.make()
        guard descriptor >= 0 else { throw HostFiles.error("make the control socket", path, errno) }
        // The lock is ours: a socket that is there belongs to nobody who lives.
        unlink(path)
        guard ControlSocket.withAddress(directory, { bind(descriptor, $0, $1) }) == 0, listen(descriptor, 16) == 0 else {
            let code = errno
            close(descriptor)
            throw HostFiles.error("bind the control socket", path, code)
        }
        chmod(path, 0o600)
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        guard pthread_create(&thread, nil, runControlServer, context) == 0 else {
            Unmanaged<ControlServer>.fromOpaque(context).release()
            close(descriptor)
            throw HostFiles.error("start the control thread", path, EAGAIN)
        }
        pthread_detach(thread)
    }

    /// Ends the thread; a request that is being answered is finished.
    func stop() {
        guard !isStopped.exchange(true, ordering: .sequentiallyConsistent) else { return }
        unlink(path)
        shutdown(descriptor, Int32(SHUT_RDWR))
    }

    fileprivate func serve() {
        while !isStopped.load(ordering: .sequentiallyConsistent) {
            let peer = accept(descriptor, nil, nil)
            if peer < 0 {
                if errno == EINTR || errno == ECONNABORTED { continue }
                break
            }
            answer(ControlSocket(descriptor: peer))
            close(peer)
        }
        close(descriptor)
    }

    private func answer(_ socket: ControlSocket) {
        socket.setTimeout(seconds: 5)
        guard let user = socket.peerUser, user == getuid() || user == 0 else { return }
        guard let store, let request = socket.receive(ControlRequest.self) else { return }
        var response: ControlResponse
        do throws(StoreError) {
            response = try perform(request, store)
        } catch { response = ControlResponse(error) }
        _ = socket.send(response)
    }

    private func perform(_ request: ControlRequest, _ store: Store) throws(StoreError) -> ControlResponse {
        var response = ControlResponse()
        switch request.kind {
        case .settle:
            try store.pages.settle()
            try store.feeder.catchUp()
        case .createSnapshot:
            try store.pages.flush()
            let made = try store.createSnapshot(request.name ?? "", object: request.object, message: request.message ?? "")
            response.version = made.version.rawValue
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
