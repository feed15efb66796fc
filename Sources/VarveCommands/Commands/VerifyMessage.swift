internal import FoundationEssentials
internal import Varve

/// One line of what a checking process tells the one that started it.
struct VerifyMessage: Codable {
    var finding: FindingLine?
    var summary: SummaryLine?
    var failure: FailureLine?

    struct FindingLine: Codable {
        var isDamage: Bool
        var place: String
        var message: String
        var object: String?
        var firstPage: Int?
        var pageCount: Int?
    }

    struct SummaryLine: Codable {
        var objects = 0
        var versions = 0
        var pagesChecked = 0
        var bytesChecked = 0
        var journalRecords = 0
    }

    struct FailureLine: Codable {
        var code: String
        var message: String
        var advice: String
        var path: String?
        var errno: Int32?
    }

    /// On one line.
    func encoded() throws -> String { String(decoding: try JSONEncoder().encode(self), as: UTF8.self) }

    init(finding: FindingLine) { self.finding = finding }
    init(summary: SummaryLine) { self.summary = summary }
    init(failure: FailureLine) { self.failure = failure }

    /// nil where the line is none of these.
    init?(line: String) {
        guard let message = try? JSONDecoder().decode(VerifyMessage.self, from: Data(line.utf8)) else { return nil }
        self = message
    }
}

extension VerifyMessage.FindingLine {
    init(_ finding: Finding, _ names: [ObjectID: String]) {
        self.init(
            isDamage: finding.severity == .damage, place: finding.place, message: finding.message,
            object: finding.object.map { names[$0] ?? "\($0)" }, firstPage: finding.pages?.start, pageCount: finding.pages?.count)
    }

    var severity: String { isDamage ? "damage" : "warning" }

    var text: String {
        var text = "\(severity): \(place)"
        if let object { text += ", object \(object)" }
        if let firstPage, let pageCount { text += ", pages \(firstPage)..<\(firstPage + pageCount)" }
        return Printable.text(text + ": " + message)
    }

    var json: JSON {
        var pages = JSON.null
        if let firstPage, let pageCount {
            pages = .object([("start", .integer(firstPage)), ("count", .integer(pageCount))])
        }
        return .object([
            ("severity", .string(severity)), ("place", .string(place)), ("message", .string(message)),
            ("object", .optional(object)), ("pages", pages),
        ])
    }
}

extension VerifyMessage.SummaryLine {
    init(_ summary: VerifySummary) {
        self.init(
            objects: summary.objects, versions: summary.versions, pagesChecked: summary.pagesChecked,
            bytesChecked: Int(summary.bytesChecked), journalRecords: summary.journalRecords)
    }
}

extension VerifyMessage.FailureLine {
    init(_ error: StoreError) {
        self.init(
            code: error.code.rawValue, message: error.message, advice: error.advice, path: error.path,
            errno: error.errno)
    }

    var error: StoreError {
        StoreError(StoreError.Code(rawValue: code) ?? .io, message, advice: advice, path: path, errno: errno)
    }
}
