internal import Foundation
internal import Glibc
internal import HostMemory
internal import VMTypes

/// Lines of JSON over a connected socket, with a descriptor beside some of them.
///
/// One thread at a time uses it. The socket is the owner's to close.
final class MessageStream {
    let socket: Int32
    private var bytes: [UInt8] = []
    /// Came with the line that is read next.
    private var descriptor: Int32?
    /// The most bytes of a line.
    private static let limit = 1 << 16

    init(socket: Int32) { self.socket = socket }

    deinit { if let descriptor { close(descriptor) } }

    func send<Message: Encodable>(_ message: Message, descriptor: Int32? = nil) throws(StoreError) {
        guard var line = try? JSONEncoder().encode(message) else { throw StoreError(.invalid, "a message can't be written down") }
        line.append(10)
        try DescriptorSocket.send(Array(line), descriptor: descriptor, over: socket)
    }

    /// Waits as long as it takes for a line to begin; false where the peer ended.
    func waitForLine() -> Bool {
        guard bytes.isEmpty else { return true }
        while true {
            var wanted = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            let ready = poll(&wanted, 1, -1)
            if ready < 0, errno == EINTR { continue }
            return ready > 0 && wanted.revents & Int16(POLLIN) != 0
        }
    }

    /// The next line's message, and the descriptor that came with it, which is the caller's; nil where the peer ended or
    /// sent something else.
    func receive<Message: Decodable>(_ type: Message.Type, until deadline: ContinuousClock.Instant) throws(StoreError)
        -> (message: Message, descriptor: Int32?)?
    {
        while true {
            if let end = bytes.firstIndex(of: 10) {
                let line = Data(bytes[..<end])
                bytes.removeFirst(end + 1)
                guard let message = try? JSONDecoder().decode(type, from: line) else { return nil }
                defer { descriptor = nil }
                return (message, descriptor)
            }
            guard bytes.count < Self.limit else { return nil }
            let got = try DescriptorSocket.receive(from: socket, until: deadline)
            if let more = got.descriptor {
                if descriptor == nil { descriptor = more } else { close(more) }
            }
            guard !got.bytes.isEmpty else { return nil }
            bytes += got.bytes
        }
    }
}
