import Foundation

/// A text with parts that programs write: each between a line that names it and one that ends it.
struct MarkedText {
    private(set) var text: String

    init(_ text: String) { self.text = text }

    /// Puts `content` in the place of the part `name`, or behind the text where there is none yet.
    ///
    /// - Throws: Where the part has no end.
    mutating func put(_ content: String, at name: String) throws {
        let begin = "<!-- report: \(name) -->\n", end = "<!-- end of report: \(name) -->\n"
        let part = begin + content + (content.hasSuffix("\n") ? "" : "\n") + end
        guard let start = text.range(of: begin) else {
            text += (text.hasSuffix("\n") ? "\n" : "\n\n") + part
            return
        }
        guard let stop = text.range(of: end, range: start.upperBound..<text.endIndex) else {
            throw BenchError("the part '\(name)' has a beginning and no end: \(end)")
        }
        text.replaceSubrange(start.lowerBound..<stop.upperBound, with: part)
    }
}
