#include "loader/jinja/parser.h"

#include <algorithm>
#include <charconv>

#include "loader/jinja/lexer.h"
#include "loader/jinja/operators.h"

namespace vkmoe::jinja {

namespace {

constexpr int kMaxExprDepth = 400;

class Parser {
 public:
  Parser(Context& cx, const std::string& source) : cx_(cx), tokens_(tokenize(cx, source)) {}

  Body run() {
    Body body;
    statements(body, {});
    return body;
  }

 private:
  using Kind = Expr::Kind;

  // ---- tokens ----

  const Token& token() const { return tokens_[pos_]; }
  const Token& look() const { return tokens_[std::min(pos_ + 1, tokens_.size() - 1)]; }
  const Token& next() {
    cx_.line = token().line;
    const Token& result = token();
    if (pos_ + 1 < tokens_.size()) ++pos_;
    return result;
  }
  bool skip_op(const char* op) { return token().is_op(op) && (next(), true); }
  bool skip_name(const char* name) { return token().is_name(name) && (next(), true); }
  [[noreturn]] void unexpected(const std::string& expected) {
    cx_.line = token().line;
    constexpr const char* names[] = {
        "text", "'{{'", "'}}'", "'{%'", "'%}'", "", "", "", "", "", "the end of the template"};
    const Token& found = token();
    bool shown = found.type >= TokenType::name && found.type < TokenType::end;
    cx_.unsupported("expected ", expected, ", found ", shown ? "'" + found.text + "'" : names[size_t(found.type)]);
  }
  void expect_op(const char* op) {
    if (!skip_op(op)) unexpected(std::string("'") + op + "'");
  }
  void expect_name(const char* name) {
    if (!skip_name(name)) unexpected(std::string("'") + name + "'");
  }
  void expect(TokenType type, const char* what) {
    if (token().type != type) unexpected(what);
    next();
  }
  std::string identifier() {
    if (token().type != TokenType::name) unexpected("a name");
    return next().text;
  }

  // ---- statements ----

  Stmt statement(Stmt::Kind kind) { return Stmt{kind, cx_.line}; }

  // Until a block that starts with one of `ends`; that name stays the current token.
  void statements(Body& body, const std::vector<const char*>& ends) {
    Depth depth(cx_);
    while (token().type != TokenType::end) {
      const Token& first = next();
      if (first.type == TokenType::data) {
        body.push_back(statement(Stmt::Kind::text));
        body.back().text = first.text;
      } else if (first.type == TokenType::variable_begin) {
        Stmt print = statement(Stmt::Kind::print);
        print.value = tuple(true, false);
        expect(TokenType::variable_end, "'}}'");
        body.push_back(std::move(print));
      } else {
        if (token().type != TokenType::name) unexpected("a statement's name");
        for (const char* end : ends) {
          if (token().is_name(end)) return;
        }
        body.push_back(tag());
        expect(TokenType::block_end, "'%}'");
      }
    }
    if (!ends.empty()) unexpected(std::string("'") + ends[0] + "'");
  }

  // From the end of a block's opening tag up to the name in its closing tag.
  Body block(const std::vector<const char*>& ends) {
    skip_op(":");
    expect(TokenType::block_end, "'%}'");
    Body body;
    statements(body, ends);
    return body;
  }
  Body block_to(const char* end) {
    Body body = block({end});
    next();
    return body;
  }

  Stmt tag() {
    std::string name = next().text;
    if (name == "if") return if_chain();
    if (name == "for") return for_loop();
    if (name == "set") return set();
    if (name == "macro") return macro();
    if (name == "call") return call_block();
    if (name == "with") return with();
    if (name == "filter") {
      Stmt result = statement(Stmt::Kind::filter_block);
      result.value = filters(nullptr, true);
      result.bodies.push_back(block_to("endfilter"));
      return result;
    }
    if (name == "generation") {
      Stmt result = statement(Stmt::Kind::generation);
      result.bodies.push_back(function_body("endgeneration"));
      return result;
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) cx_.unsupported("'", name, "' outside of a loop");
      return statement(name == "break" ? Stmt::Kind::break_loop : Stmt::Kind::continue_loop);
    }
    cx_.unsupported("unknown statement '", name, "'");
  }

  Stmt if_chain() {
    Stmt result = statement(Stmt::Kind::if_chain);
    for (;;) {
      result.tests.push_back(tuple(false, false));
      result.bodies.push_back(block({"elif", "else", "endif"}));
      std::string end = next().text;
      if (end == "elif") continue;
      if (end == "else") result.bodies.push_back(block_to("endif"));
      return result;
    }
  }

  Stmt for_loop() {
    Stmt result = statement(Stmt::Kind::for_loop);
    result.target = target(false);
    expect_name("in");
    result.value = tuple(false, false, "recursive");
    if (skip_name("if")) result.test = expression();
    if (token().is_name("recursive")) cx_.unsupported("a recursive loop");
    ++loops_;
    result.bodies.push_back(block({"endfor", "else"}));
    --loops_;
    result.bodies.push_back(next().text == "else" ? block_to("endfor") : Body());
    return result;
  }

  Stmt set() {
    Stmt result = statement(Stmt::Kind::set);
    result.target = target(true);
    if (skip_op("=")) {
      result.value = tuple(true, false);
      return result;
    }
    result.kind = Stmt::Kind::set_block;
    if (token().is_op("|")) result.value = filters(nullptr, false);
    result.bodies.push_back(block_to("endset"));
    return result;
  }

  // The body of a function: loops outside of it cannot be left from inside.
  Body function_body(const char* end) {
    int outer = std::exchange(loops_, 0);
    Body body = block_to(end);
    loops_ = outer;
    return body;
  }

  void signature(Stmt& result) {
    result.signature = std::make_unique<Signature>();
    Signature& s = *result.signature;
    signatures_.push_back(&s);
    if (!skip_op("(")) {
      if (result.kind == Stmt::Kind::macro) unexpected("'('");
      return;
    }
    while (!token().is_op(")")) {
      if (!s.names.empty()) expect_op(",");
      s.names.push_back(identifier());
      if (skip_op("=")) {
        s.defaults.push_back(expression());
      } else if (!s.defaults.empty()) {
        cx_.unsupported("a parameter without a default follows one with a default");
      }
    }
    expect_op(")");
  }

  Stmt macro() {
    Stmt result = statement(Stmt::Kind::macro);
    result.text = identifier();
    signature(result);
    result.bodies.push_back(function_body("endmacro"));
    signatures_.pop_back();
    return result;
  }

  Stmt call_block() {
    Stmt result = statement(Stmt::Kind::call_block);
    signature(result);
    result.value = expression();
    if (result.value->kind != Kind::call) cx_.unsupported("a call block needs a call");
    result.bodies.push_back(function_body("endcall"));
    signatures_.pop_back();
    return result;
  }

  Stmt with() {
    Stmt result = statement(Stmt::Kind::with);
    while (token().type != TokenType::block_end) {
      if (!result.targets.empty()) expect_op(",");
      result.targets.push_back(make(Kind::name));
      result.targets.back()->text = identifier();
      expect_op("=");
      result.tests.push_back(expression());
    }
    result.bodies.push_back(block_to("endwith"));
    return result;
  }

  ExprPtr target(bool with_space) {
    Depth depth(cx_);
    ExprPtr result = make(Kind::tuple);
    bool comma = false;
    do {
      if (!result->children.empty() && token().type != TokenType::name && !token().is_op("(")) break;
      if (skip_op("(")) {
        add(result, target(with_space));
        expect_op(")");
      } else {
        ExprPtr part = make(Kind::name);
        part->text = identifier();
        constexpr const char* reserved[] = {"true", "false", "none", "True", "False", "None"};
        if (std::any_of(std::begin(reserved), std::end(reserved),
                        [&](const char* word) { return part->text == word; })) {
          cx_.unsupported("cannot assign to '", part->text, "'");
        }
        if (with_space && skip_op(".")) {
          part->kind = Kind::space_ref;
          part->attribute = identifier();
        }
        add(result, std::move(part));
      }
      comma |= token().is_op(",");
    } while (skip_op(","));
    return comma ? std::move(result) : std::move(result->children[0]);
  }

  // ---- expressions ----

  ExprPtr make(Kind kind) {
    auto result = std::make_unique<Expr>();
    result->kind = kind;
    result->line = cx_.line;
    return result;
  }
  void deepen(Expr& parent, const Expr& child) {
    parent.depth = std::max(parent.depth, child.depth + 1);
    if (parent.depth > kMaxExprDepth) cx_.unsupported("the expression is nested more than ", kMaxExprDepth, " deep");
  }
  void add(ExprPtr& parent, ExprPtr child) {
    if (child) deepen(*parent, *child);
    parent->children.push_back(std::move(child));
  }
  template <class... Children>
  ExprPtr make_with(Kind kind, std::string text, Children... children) {
    ExprPtr result = make(kind);
    result->text = std::move(text);
    (add(result, std::move(children)), ...);
    return result;
  }

  // Expressions with commas between them. parenthesized: "()" is an empty tuple.
  ExprPtr tuple(bool conditions, bool parenthesized, const char* end_name = nullptr) {
    auto at_end = [&] {
      return token().type == TokenType::variable_end || token().type == TokenType::block_end || token().is_op(")") ||
             (end_name && token().is_name(end_name));
    };
    if (at_end() && !parenthesized) unexpected("an expression");
    ExprPtr result = make(Kind::tuple);
    bool comma = at_end();
    while (!at_end()) {
      add(result, conditions ? expression() : logic_or());
      if (!skip_op(",")) break;
      comma = true;
    }
    return comma ? std::move(result) : std::move(result->children[0]);
  }

  ExprPtr expression() {
    Depth depth(cx_);
    ExprPtr value = logic_or();
    while (skip_name("if")) {
      ExprPtr test = logic_or();
      ExprPtr other = skip_name("else") ? expression() : nullptr;
      value = make_with(Kind::condition, "", std::move(value), std::move(test), std::move(other));
    }
    return value;
  }

  ExprPtr logic_or() {
    ExprPtr left = logic_and();
    while (skip_name("or")) left = make_with(Kind::logic, "or", std::move(left), logic_and());
    return left;
  }
  ExprPtr logic_and() {
    ExprPtr left = logic_not();
    while (skip_name("and")) left = make_with(Kind::logic, "and", std::move(left), logic_not());
    return left;
  }
  ExprPtr logic_not() {
    Depth depth(cx_);
    if (skip_name("not")) return make_with(Kind::unary, "not", logic_not());
    return compare();
  }

  ExprPtr compare() {
    ExprPtr first = sum();
    ExprPtr result;
    for (;;) {
      std::string op;
      constexpr const char* ops[] = {"==", "!=", "<", "<=", ">", ">="};
      bool symbol =
          std::any_of(std::begin(ops), std::end(ops), [&](const char* text) { return token().is_op(text); });
      if (symbol || token().is_name("in")) {
        op = next().text;
      } else if (token().is_name("not") && look().is_name("in")) {
        next();
        next();
        op = "not in";
      } else {
        return result ? std::move(result) : std::move(first);
      }
      if (!result) result = make_with(Kind::compare, "", std::move(first));
      result->operators.push_back(op);
      add(result, sum());
    }
  }

  ExprPtr sum() {
    ExprPtr left = concat();
    while (token().is_op("+") || token().is_op("-")) {
      std::string op = next().text;
      left = make_with(Kind::binary, op, std::move(left), concat());
    }
    return left;
  }
  ExprPtr concat() {
    ExprPtr first = product();
    if (!token().is_op("~")) return first;
    ExprPtr result = make_with(Kind::concat, "", std::move(first));
    while (skip_op("~")) add(result, product());
    return result;
  }
  ExprPtr product() {
    ExprPtr left = power();
    while (token().is_op("*") || token().is_op("/") || token().is_op("//") || token().is_op("%")) {
      std::string op = next().text;
      left = make_with(Kind::binary, op, std::move(left), power());
    }
    return left;
  }
  ExprPtr power() {
    ExprPtr left = unary(true);
    while (skip_op("**")) left = make_with(Kind::binary, "**", std::move(left), unary(true));
    return left;
  }

  ExprPtr unary(bool with_filter) {
    Depth depth(cx_);
    ExprPtr value;
    if (token().is_op("-") || token().is_op("+")) {
      std::string op = next().text;
      value = make_with(Kind::unary, op, unary(false));
    } else {
      value = primary();
    }
    value = postfix(std::move(value));
    while (with_filter) {
      if (token().is_op("|")) {
        value = filters(std::move(value), false);
      } else if (token().is_name("is")) {
        value = test(std::move(value));
      } else if (token().is_op("(")) {
        value = call(std::move(value));
      } else {
        break;
      }
    }
    return value;
  }

  ExprPtr primary() {
    const Token& first = token();
    if (first.is_op("[") || first.is_op("{")) return container();
    if (skip_op("(")) {
      ExprPtr result = tuple(true, true);
      expect_op(")");
      return result;
    }
    if (first.type < TokenType::name || first.type > TokenType::floating) unexpected("an expression");
    next();
    ExprPtr result = make(Kind::constant);
    const std::string& text = first.text;
    if (first.type == TokenType::string) {
      std::string joined = text;
      while (token().type == TokenType::string) joined += next().text;
      result->value = Value::string(cx_, joined);
    } else if (first.type == TokenType::integer) {
      int64_t number = 0;
      if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc()) {
        cx_.unsupported("the integer ", text, " is too large");
      }
      result->value = Value::integer(number);
    } else if (first.type == TokenType::floating) {
      result->value = Value::floating(parse_float(text).value_or(0));
    } else if (text == "true" || text == "True" || text == "false" || text == "False") {
      result->value = Value::boolean(text == "true" || text == "True");
    } else if (text == "none" || text == "None") {
      result->value = Value::none();
    } else {
      result->kind = Kind::name;
      result->text = text;
      for (Signature* s : signatures_) {
        s->uses_caller |= text == "caller";
        s->uses_varargs |= text == "varargs";
        s->uses_kwargs |= text == "kwargs";
      }
    }
    return result;
  }

  ExprPtr container() {
    bool dict = token().is_op("{");
    const char* close = dict ? "}" : "]";
    next();
    ExprPtr result = make(dict ? Kind::dict : Kind::list);
    while (!token().is_op(close)) {
      if (!result->children.empty()) expect_op(",");
      if (token().is_op(close)) break;
      add(result, expression());
      if (dict) {
        expect_op(":");
        add(result, expression());
      }
    }
    expect_op(close);
    return result;
  }

  ExprPtr postfix(ExprPtr value) {
    for (;;) {
      if (skip_op(".")) {
        if (token().type == TokenType::integer) {
          value = make_with(Kind::item, "", std::move(value), primary());
        } else {
          value = make_with(Kind::attribute, "", std::move(value));
          value->attribute = identifier();
        }
      } else if (skip_op("[")) {
        value = subscript(std::move(value));
      } else if (token().is_op("(")) {
        value = call(std::move(value));
      } else {
        return value;
      }
    }
  }

  ExprPtr subscript(ExprPtr value) {
    ExprPtr parts[3];
    size_t count = 0;
    for (;; ++count) {
      if (!token().is_op(":") && !token().is_op("]")) parts[count] = expression();
      if (count == 2 || !skip_op(":")) break;
    }
    if (count == 0 && !parts[0]) unexpected("an index");
    expect_op("]");
    if (count == 0) return make_with(Kind::item, "", std::move(value), std::move(parts[0]));
    return make_with(Kind::slice, "", std::move(value), std::move(parts[0]), std::move(parts[1]),
                     std::move(parts[2]));
  }

  ExprPtr call(ExprPtr value) {
    ExprPtr result = make_with(Kind::call, "", std::move(value));
    arguments(*result);
    return result;
  }

  void arguments(Expr& result) {
    expect_op("(");
    bool comma = true;
    auto take = [&] {
      ExprPtr argument = expression();
      deepen(result, *argument);
      return argument;
    };
    while (!token().is_op(")")) {
      if (!comma) unexpected("','");
      if (result.star_star) cx_.unsupported("an argument follows **");
      if (skip_op("*")) {
        if (result.star) cx_.unsupported("two * arguments");
        result.star = take();
      } else if (skip_op("**")) {
        result.star_star = take();
      } else if (token().type == TokenType::name && look().is_op("=")) {
        std::string name = next().text;
        next();
        result.named.emplace_back(name, take());
      } else {
        if (!result.named.empty() || result.star) cx_.unsupported("a positional argument follows named ones");
        result.arguments.push_back(take());
      }
      comma = skip_op(",");
    }
    expect_op(")");
  }

  std::string dotted_name() {
    std::string name = identifier();
    while (skip_op(".")) name += "." + identifier();
    return name;
  }

  // value | a | b(...); inline_start: the first filter of a filter block, which has no "|".
  ExprPtr filters(ExprPtr value, bool inline_start) {
    while (std::exchange(inline_start, false) || skip_op("|")) {
      ExprPtr result = make_with(Kind::filter, dotted_name(), std::move(value));
      if (token().is_op("(")) arguments(*result);
      value = std::move(result);
    }
    return value;
  }

  ExprPtr test(ExprPtr value) {
    next();
    bool negated = skip_name("not");
    ExprPtr result = make_with(Kind::test, dotted_name(), std::move(value));
    const Token& first = token();
    bool literal = first.type >= TokenType::name && first.type <= TokenType::floating;
    if (first.is_op("(")) {
      arguments(*result);
    } else if ((literal || first.is_op("[") || first.is_op("{")) && !first.is_name("else") && !first.is_name("or") &&
               !first.is_name("and")) {
      if (first.is_name("is")) cx_.unsupported("a test cannot follow a test");
      result->arguments.push_back(postfix(primary()));
      deepen(*result, *result->arguments.back());
    }
    return negated ? make_with(Kind::unary, "not", std::move(result)) : std::move(result);
  }

  Context& cx_;
  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int loops_ = 0;
  std::vector<Signature*> signatures_;  // of the macros around the current token
};

}  // namespace

Body parse(Context& cx, const std::string& source) { return Parser(cx, source).run(); }

}  // namespace vkmoe::jinja
