internal import Varve

/// The lines of a console's input, each as soon as it is there.
struct LineReader {
    private let console: Console
    private var bytes: [UInt8] = []

    init(_ console: Console) { self.console = console }

    /// The next line, without its end; nil at the input's.
    mutating func next() throws(StoreError) -> String? {
        while true {
            if let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
                defer { bytes.removeSubrange(...end) }
                return String(decoding: bytes[..<end], as: UTF8.self)
            }
            guard let more = try console.readSome() else { return nil }
            bytes += more
        }
    }
}
