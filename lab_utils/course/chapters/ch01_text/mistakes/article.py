"""The known wrong answers to article, of notebook 01."""

from lab_utils.course.exercise import mistake


@mistake("It is always `a`.", "What stands before *apple*?")
def article_always_a(noun):
    return "a"


@mistake(
    "The exceptions are missing: *hour* begins with a vowel sound, *unicorn* does not.",
    "Say it aloud: an unicorn, a hour?",
)
def article_by_letter(noun):
    return "an" if noun[0].lower() in "aeiou" else "a"


@mistake("It is the other way round.", "What stands before *apple*?")
def article_the_other_way(noun):
    return "a" if noun[0].lower() in "aeiou" else "an"


@mistake("The letter u does not count as a vowel here: it is *an umbrella*.", "Which letters are vowels?")
def article_without_u(noun):
    return "an" if noun[0] in "aeio" or noun.startswith(("hour", "honest")) else "a"


@mistake(
    "Only the last rule is used: words like *hour* take `an`, all others `a`.", "What stands before *apple*?"
)
def article_of_hours_only(noun):
    return "an" if noun.startswith(("hour", "honest")) else "a"


@mistake(
    'Only the first of the listed beginnings counts: in Python `"uni" or "use"` is just `"uni"`.',
    'What is `"uni" or "use"` in Python? And what does startswith do with a tuple?',
)
def article_of_the_first_beginning(noun):
    if noun.startswith("uni"):
        return "a"
    return "an" if noun.startswith("hour") or noun[0] in "aeiou" else "a"


@mistake(
    "The exceptions are compared with the whole word, so only `hour` is one. They are beginnings.",
    'Is "unicorn" equal to "uni"?',
)
def article_of_whole_words(noun):
    return "an" if noun == "hour" or noun[0] in "aeiou" else "a"


ARTICLE = (
    article_always_a,
    article_by_letter,
    article_the_other_way,
    article_without_u,
    article_of_hours_only,
    article_of_the_first_beginning,
    article_of_whole_words,
)
