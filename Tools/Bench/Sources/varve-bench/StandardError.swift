import Foundation

enum StandardError {
    static let isTerminal = isatty(STDERR_FILENO) == 1

    static func print(_ line: String) {
        FileHandle.standardError.write(Data("\(isTerminal ? "\r\u{1b}[K" : "")\(line)\n".utf8))
    }

    /// Shows `text` in place of the line before, on a terminal only.
    static func progress(_ text: String) {
        if isTerminal { FileHandle.standardError.write(Data("\r\u{1b}[K\(text)".utf8)) }
    }
}
