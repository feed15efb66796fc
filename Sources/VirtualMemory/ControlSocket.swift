internal import Foundation
internal import Glibc
internal import PageStore
internal import VMTypes

/// A Unix stream socket with one JSON line each way.
///
/// A socket's path may have 107 bytes only: it is reached through the folder's descriptor in /proc.
struct ControlSocket {
    let descriptor: Int32

    static func address(_ folder: Int32) -> sockaddr_un {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array("/proc/self/fd/\(folder)/\(StoreFile.control)".utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        return address
    }

    static func withAddress<Result>(_ folder: Int32, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        var address = address(folder)
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }

    static func make() -> Int32 { socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0) }

    /// How long a side waits for the other.
    func setTimeout(seconds: Int) {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// The user at the other end.
    var peerUser: uid_t? {
        // struct ucred: pid, uid, gid.
        var credentials: (Int32, UInt32, UInt32) = (0, 0, 0)
        var length = socklen_t(12)
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 else { return nil }
        return credentials.1
    }

    func send<Message: Encodable>(_ message: Message) -> Bool {
        guard var bytes = try? JSONEncoder().encode(message) else { return false }
        bytes.append(10)
        return bytes.withUnsafeBytes { raw in
            var done = 0
            while done < raw.count {
                let n = Glibc.send(descriptor, raw.baseAddress! + done, raw.count - done, Int32(0x4000) /* MSG_NOSIGNAL */)
                if n < 0 && errno == EINTR { continue }
                if n <= 0 { return false }
                done += n
            }
            return true
        }
    }

    /// The next line's message; nil where the peer ended, took too long for the whole of it, or sent something else.
    func receive<Message: Decodable>(_ type: Message.Type, withinSeconds limit: Int) -> Message? {
        let deadline = ContinuousClock.now + .seconds(limit)
        var line = Data()
        var chunk = [UInt8](repeating: 0, count: 4096)
        while line.count < 1 << 16, ContinuousClock.now < deadline {
            let n = recv(descriptor, &chunk, chunk.count, 0)
            if n < 0 && errno == EINTR { continue }
            guard n > 0 else { return nil }
            line.append(contentsOf: chunk[..<n])
            if let end = line.firstIndex(of: 10) { return try? JSONDecoder().decode(type, from: line[..<end]) }
        }
        return nil
    }
}

/// Asks a store's writer.
final class ControlClient: Sendable {
    private let folder: String
    /// Seconds that an answer may take: a backup takes long.
    private static let patience = 600

    init(folder: String) { self.folder = folder }

    /// Throws `.noStore` where there is no store, `.locked` where no writer answers, and what the writer throws.
    func call(_ request: ControlRequest) throws(StoreError) -> ControlResponse {
        let directory = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else {
            throw StoreError(.noStore, "there is no store here", advice: "`varve init` makes one", path: folder, errno: errno)
        }
        defer { close(directory) }
        let socket = ControlSocket(descriptor: ControlSocket.make())
        defer { close(socket.descriptor) }
        let connected = ControlSocket.withAddress(directory) { connect(socket.descriptor, $0, $1) }
        guard connected == 0 else {
            throw StoreError(
                .locked, "no writer answers at the store's control socket", advice: "Try again when its writer has opened it or is gone",
                path: folder + "/" + StoreFile.control, errno: errno)
        }
        socket.setTimeout(seconds: Self.patience)
        guard socket.send(request), let response = socket.receive(ControlResponse.self, withinSeconds: Self.patience) else {
            throw StoreError(
                .locked, "the store's writer ended before it answered", advice: "Try again", path: folder + "/" + StoreFile.control)
        }
        if let failure = response.error {
            throw StoreError(
                StoreError.Code(rawValue: failure.code) ?? .io, failure.message, advice: failure.advice, path: failure.path,
                errno: failure.errno)
        }
        return response
    }
}
