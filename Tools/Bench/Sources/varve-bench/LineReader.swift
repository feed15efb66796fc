import Foundation

/// Reads lines from a descriptor, each within a time limit.
struct LineReader {
    let descriptor: Int32
    private var pending = Data()

    init(descriptor: Int32) {
        self.descriptor = descriptor
    }

    /// The next line without its end, or nil at the end of the input.
    mutating func next(withinSeconds limit: Int) throws -> Data? {
        let deadline = ContinuousClock.now + .seconds(limit)
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                defer { pending = Data(pending[(end + 1)...]) }
                return Data(pending[..<end])
            }
            var ready = pollfd(descriptor: descriptor)
            let remaining = (deadline - .now).components.seconds
            guard remaining > 0, poll(&ready, 1, Int32(remaining * 1000)) != 0 else {
                throw BenchError("no answer within \(limit) seconds")
            }
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return nil }
            pending.append(contentsOf: chunk[..<count])
        }
    }
}

extension pollfd {
    fileprivate init(descriptor: Int32) {
        self.init(fd: descriptor, events: Int16(POLLIN), revents: 0)
    }
}
