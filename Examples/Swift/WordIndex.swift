import Foundation
import Varve

/// Which words stand where in a set of texts.
struct WordIndex {
    /// A line of a text.
    struct Place: Persistable, Hashable {
        var text: Int32
        var line: Int32
    }

    let heap: PersistentHeap
    let texts: PersistentArray<String>
    let places: PersistentDictionary<String, PersistentArray<Place>>

    init(_ path: String) throws {
        heap = try PersistentHeap.open(path)
        texts = try heap.root("texts")
        places = try heap.root("places")
        try heap.commit()
    }

    /// Adds a text, all of it or nothing.
    func add(_ file: String) throws {
        let content = try String(contentsOfFile: file, encoding: .utf8)
        try heap.transaction(message: "add \(file)") {
            let text = Int32(texts.count)
            try texts.append(file)
            for (line, words) in WordIndex.lines(of: content).enumerated() {
                for word in Set(words) {
                    try places.collection(forKey: word).append(Place(text: text, line: Int32(line + 1)))
                }
            }
        }
    }

    /// The lines that a word stands in, as "FILE:LINE".
    func find(_ word: String) -> [String] {
        (places[word.lowercased()].map(Array.init) ?? []).map { "\(texts[Int($0.text)]):\($0.line)" }
    }

    /// The words of each line, in small letters.
    static func lines(of content: String) -> [[String]] {
        content.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            line.lowercased().split { !$0.isLetter }.map(String.init)
        }
    }
}
