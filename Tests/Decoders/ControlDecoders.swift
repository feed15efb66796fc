#if DEBUG
internal import Foundation
internal import VMTypes
@testable internal import VirtualMemory

enum ControlDecoders {
    /// The first byte says who reads: what it is sent are the rest.
    static func stream(_ bytes: [UInt8]) throws {
        guard let reader = bytes.first, bytes.count <= 1 << 17 else { throw NotTaken() }
        var ends: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else { throw NotTaken() }
        defer { close(ends[0]) }
        let sent = bytes.dropFirst().withUnsafeBytes { write(ends[1], $0.baseAddress, $0.count) }
        close(ends[1])
        guard sent == bytes.count - 1 else { throw NotTaken() }
        let stream = MessageStream(socket: ends[0])
        switch reader % 4 {
        case 0: try receive(ControlRequest.self, stream)
        case 1: try receive(ControlResponse.self, stream) { _ = $0.reclaimed }
        case 2: try receive(AttachmentRequest.self, stream)
        default: try receive(AttachmentResponse.self, stream)
        }
    }

    /// Until it ends, or is no stream of such messages; there must be one.
    private static func receive<Message: Codable>(_ type: Message.Type, _ stream: MessageStream, _ use: (Message) -> Void = { _ in }) throws {
        var count = 0
        while let next = try stream.receive(type, until: .now + .seconds(5)) {
            use(next.message)
            _ = try JSONEncoder().encode(next.message)
            count += 1
        }
        guard count > 0 else { throw NotTaken() }
    }

    /// Lines as the processes of a store send them.
    static func seeds() throws -> [[UInt8]] {
        var snapshot = ControlRequest(.createSnapshot)
        (snapshot.name, snapshot.object, snapshot.message) = ("first", "heap", "né")
        var retain = ControlRequest(.retain)
        (retain.versions, retain.seconds) = (8, 3600)
        var done = ControlResponse(StoreError(.full, "no room", advice: "Make some", path: "/p", errno: 28))
        done.version = 7
        var object = AttachmentRequest(.object)
        (object.name, object.writes) = ("heap", true)
        var answer = AttachmentResponse(StoreError(.notFound, "no such object"))
        (answer.port, answer.size, answer.pages) = (3, 1 << 20, 256)
        func lines(_ reader: UInt8, _ messages: any Encodable...) throws -> [UInt8] {
            try [reader] + messages.flatMap { try Array(JSONEncoder().encode($0)) + [10] }
        }
        return [
            try lines(0, ControlRequest(.settle), snapshot, retain), try lines(1, done, ControlResponse()), try lines(2, object, AttachmentRequest(.commit)),
            try lines(3, answer, AttachmentResponse()),
        ]
    }
}
#endif
