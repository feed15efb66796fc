/// Names a store; every file of it carries the same one.
public struct StoreUUID: Hashable, Sendable, CustomStringConvertible {
    let low: UInt64
    let high: UInt64

    static let zero = StoreUUID(low: 0, high: 0)

    init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    /// Draws a new one (version 4, random).
    static func random() -> StoreUUID {
        var generator = SystemRandomNumberGenerator()
        return StoreUUID(low: generator.next(), high: generator.next())
    }

    /// The 16 bytes as they are on disk.
    public var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.put(low)
        writer.put(high)
        return writer.bytes
    }

    public var description: String {
        let hex = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
        return [0..<4, 4..<6, 6..<8, 8..<10, 10..<16].map { hex[$0].joined() }.joined(separator: "-")
    }
}
