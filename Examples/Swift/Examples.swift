import Foundation
import Varve

/// Runs the examples: see Examples/README.md.
@main enum Examples {
    static let usage = """
        usage: varve-examples bank STORE            transfers money until it is ended
               varve-examples bank STORE --check    says whether none was made or lost
               varve-examples index STORE FILE…     adds texts to an index
               varve-examples find STORE WORD       says where a word stands
               varve-examples edit STORE LINE       adds a line to a text
               varve-examples undo|redo|show STORE  goes through the text's history
               varve-examples accounts STORE        what README.md says of structures, transactions and the past
               varve-examples tutorial FOLDER       what the tutorial says, in an empty folder
        """

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        guard arguments.count >= 2 else {
            print(usage)
            exit(64)
        }
        do {
            exit(try run(arguments[0], arguments[1], Array(arguments.dropFirst(2))))
        } catch {
            FileHandle.standardError.write(Data("varve-examples: \(error)\n".utf8))
            exit(2)
        }
    }

    static func run(_ command: String, _ path: String, _ arguments: [String]) throws -> Int32 {
        switch command {
        case "bank":
            let bank = try Bank(path)
            if arguments.first != "--check" { try bank.run() }
            let isSound = bank.isSound
            print("\(bank.transfers.value) transfers, \(isSound ? "sound" : "NOT SOUND")")
            try bank.heap.close()
            return isSound ? 0 : 1
        case "index":
            let index = try WordIndex(path)
            for file in arguments { try index.add(file) }
            print("\(index.texts.count) texts, \(index.places.count) words")
            try index.heap.close()
        case "find":
            let index = try WordIndex(path)
            for place in index.find(arguments.first ?? "") { print(place) }
            try index.heap.close()
        case "edit", "undo", "redo", "show":
            let history = try UndoHistory(path)
            if command == "edit" { try history.edit { try $0.append(arguments.first ?? "") } }
            if command == "undo", try !history.undo() { print("(nothing to undo)") }
            if command == "redo", try !history.redo() { print("(nothing to do again)") }
            for line in history.lines { print(line) }
            try history.heap.close()
        case "accounts":
            try Accounts.run(path)
        case "tutorial":
            guard FileManager.default.changeCurrentDirectoryPath(path) else {
                print("there is no folder \(path)")
                return 2
            }
            try Tutorial.run()
        default:
            print(usage)
            return 64
        }
        return 0
    }
}
