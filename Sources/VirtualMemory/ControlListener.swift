internal import Glibc
internal import PageStore
internal import VMTypes

/// The socket by which other processes reach a store's writer, bound and not yet answering.
struct ControlListener: Sendable {
    let descriptor: Int32
    let path: String

    /// Binds it in the store's folder; to be called by who holds the writer's lock.
    init(folder: String) throws(StoreError) {
        path = folder + "/" + StoreFile.control
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw HostFiles.error("open the store's folder", folder, errno) }
        defer { Glibc.close(directory) }
        descriptor = ControlSocket.make()
        guard descriptor >= 0 else { throw HostFiles.error("make the control socket", path, errno) }
        // The lock is ours: a socket that is there belongs to nobody who lives.
        unlink(path)
        guard ControlSocket.withAddress(directory, { bind(descriptor, $0, $1) }) == 0 else {
            let code = errno
            Glibc.close(descriptor)
            throw HostFiles.error("bind the control socket", path, code)
        }
        chmod(path, 0o600)
    }

    /// Gives it up.
    func close() {
        unlink(path)
        Glibc.close(descriptor)
    }
}
