/// Bytes that are near those of a corpus.
enum Mutation {
    private static let telling: [UInt8] = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff]

    static func of(_ corpus: [[UInt8]], _ random: inout some RandomNumberGenerator) -> [UInt8] {
        var bytes = corpus.randomElement(using: &random)!
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            guard !bytes.isEmpty else { break }
            // Headers and lengths are at the beginning.
            let most = Bool.random(using: &random) ? bytes.count : min(bytes.count, 160)
            let at = Int.random(in: 0..<most, using: &random)
            switch Int.random(in: 0..<7, using: &random) {
            case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: bytes[at] = UInt8.random(in: 0...255, using: &random)
            case 2:
                let byte = telling.randomElement(using: &random)!
                for index in at..<min(at + (1 << Int.random(in: 0...3, using: &random)), bytes.count) { bytes[index] = byte }
            case 3: bytes.removeSubrange(at..<min(at + Int.random(in: 1...16, using: &random), bytes.count))
            case 4: bytes.insert(contentsOf: (0..<Int.random(in: 1...16, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }, at: at)
            case 5: bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
            default:
                let other = corpus.randomElement(using: &random)!
                bytes = Array(bytes[..<at]) + other.suffix(Int.random(in: 0...other.count, using: &random))
            }
        }
        return bytes
    }
}
