import ArgumentParser
import Foundation

/// Answers lines of words on standard input with what carrying them out took, until `quit` or the input's end.
enum OperationHost {
    /// `body` returns how many operations it did.
    static func serve(_ body: ([String]) throws -> Int) throws {
        print("ready")
        fflush(nil)
        while let line = readLine(), line != "quit" {
            let start = ContinuousClock.now
            let operations = try body(line.split(separator: " ").map(String.init))
            let taken = (ContinuousClock.now - start).components
            let answer = OperationAnswer(
                operations: operations, nanoseconds: Int(taken.seconds) * 1_000_000_000 + Int(taken.attoseconds / 1_000_000_000))
            print(String(decoding: try JSONEncoder().encode(answer), as: UTF8.self))
            fflush(nil)
        }
    }
}
