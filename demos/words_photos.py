"""What the Photos page says, in English and Korean; a key means the same in both."""

from .words import COMMON, KNOWS_THINGS

WORDS: dict[str, dict[str, str]] = {
    "en": {
        **COMMON["en"],
        "title": "Photos",
        "tagline": "Each picture of a folder is looked at once; then search and sort them all by "
        "any words.",
        "knows_shapes": "This small model has seen drawn shapes only: eight colours and eight "
        "forms, in English and Korean. Of photographs it knows nothing.",
        "for_photos": "For photographs, start with a public model: add {photos}, or {korean} for "
        "Korean words too.",
        "knows_things": KNOWS_THINGS["en"],
        "for_work": "For real work, start with a public model: add {photos}, or {korean} for "
        "Korean words too.",
        "start": "To look into a folder of your own, name it when you start mmfm: {command}",
        "only_allowed": "This page reads only what was named with --allow. Links that lead out of "
        "it are not followed.",
        "folder": "Folder",
        "examples_place": "Examples",
        "examples_note": "Drawings that mmfm makes itself, so that there is something to search.",
        "examples_one": "one shape",
        "examples_two": "two shapes",
        "examples_note_photographs": "Photographs that scikit-image brings along, whole and in "
        "parts, so that there is something to search.",
        "examples_whole": "whole photographs",
        "examples_parts": "parts of them",
        "folders": "Folders in here",
        "more_folders": "and {count} more",
        "looking": "Looking into the folder…",
        "no_pictures": "There are no pictures in here.",
        "indexed": "{done} of {total} indexed",
        "all_indexed": "All {total} pictures are indexed.",
        "rest_unreadable": "{done} of {total} indexed; the rest cannot be read.",
        "all_unreadable": "No picture in here can be read.",
        "index": "Index {count} pictures",
        "go_on": "Go on with {count} pictures",
        "index_one": "Index 1 picture",
        "again": "Look for changes",
        "stop": "Stop",
        "starting": "Getting ready…",
        "stopping": "Stopping after these pictures…",
        "stopped": "Stopped. What was indexed stays.",
        "speed": "{speed} pictures/s",
        "left": "{time} left",
        "hours": "{hours} h {minutes} min",
        "minutes": "{minutes} min {seconds} s",
        "seconds": "{seconds} s",
        "index_note": "Indexing turns each picture into a list of numbers, once. They are kept in "
        "your own store, where mmfm search finds them too. The pictures stay where they are.",
        "index_note_examples": "Indexing turns each picture into a list of numbers, once. Those of "
        "the examples are forgotten when mmfm ends.",
        "unreadable_one": "1 file could not be read",
        "unreadable_many": "{count} files could not be read",
        "unreadable_more": "and {count} more",
        "ways": "Search or sort",
        "way_search": "Search",
        "way_sort": "Sort by labels",
        "first_index": "Index some pictures first.",
        "text": "What is to be seen",
        "text_hint": "a beach in the evening",
        "minus": "Without",
        "minus_hint": "people",
        "search": "Search",
        "like": "like this picture",
        "like_away": "No longer like this picture",
        "found": "{shown} of {count} pictures, the best first",
        "found_note": "The number is how near a picture lies to what you ask (a cosine): use it to "
        "compare pictures of one search, not of two.",
        "labels": "Labels",
        "labels_hint": "Labels are parted by commas. What stands before = is shown, what stands "
        "after it is read, with | between synonyms: dog=강아지|puppy",
        "none": "“None of these” may be the answer",
        "multi": "Each label by itself: several may apply",
        "sort": "Sort",
        "show": "Show",
        "every": "All",
        "nothing": "none of these",
        "no_label": "no label",
        "corrected": "Checked",
        "order": "Order",
        "order_uncertain": "Uncertain first",
        "order_sure": "Surest first",
        "order_folder": "As in the folder",
        "answers_note": "Press ✓ where the answer is right, or the label that is right instead. "
        "What you say is kept for this visit and goes into the table.",
        "right": "{label} is right",
        "or": "or {label}?",
        "or_none": "or none of these?",
        "is_right": "{label} is the right answer",
        "says": "the model says {label}",
        "take_back": "Take back",
        "checked": "{checked} checked, {changed} of them corrected",
        "export": "Download the table (CSV)",
        "kind_among_labels": "The scores are probabilities among these labels: they add up to "
        "100 %, even when no label fits.",
        "kind_among_labels_none": "The scores are probabilities among these labels and “none of "
        "these”; that one is held against general texts and not yet a probability of its own.",
        "kind_each_label": "Each score is the probability of that label alone, as this model was "
        "trained to give it.",
        "kind_each_label_uncalibrated": "Each label is held by itself against general texts: an "
        "order, and not yet a probability.",
        "made_by": "Answered by {weights}, on {device} in {numbers}. The pictures were indexed "
        "with the engine {engines}.",
        "show_more": "Show {count} more",
        "shown_most": "No more than {most} are shown at a time; narrow the choice.",
        "open": "Look at {name}",
        "more_like": "More like this",
        "previous": "Previous",
        "next": "Next",
        "close": "Close",
        "place_of": "{number} of {count}",
        "score": "Score",
        "cosine": "Cosine {cosine}",
        "reasons": "",  # given as they are; in Korean, by what is said in them
        "gone": "This picture can no longer be read.",
        "which": "Which answer is right?",
        "which_several": "Which labels apply?",
        "keys": "Keys 1 to 9 choose an answer, arrow keys go to the next picture, Esc closes.",
        "splinters": "This model does not read Korean: its words break into splinters of letters, "
        "and the answer means nothing. Use English words, or start with --model {model}.",
        "unread": "{text}: longer than this model reads; its end is cut off.",
        "in_use": "Another program is indexing into the same store right now. Wait until it ends, "
        "then go on.",
        "other_visitor": "Somebody else is having another folder indexed. Wait until that ends.",
        "no_space": "The disk is full. What was indexed stays.",
        "no_folder": "This folder is no longer there, or leads somewhere else.",
        "no_picture": "This picture is no longer on the page.",
        "no_model": "This page does not have the model {name}.",
        "no_such_label": "No label here is called that.",
        "no_words": "Write what is to be seen, or choose a picture to begin with.",
        "no_answers": "Sort the pictures first.",
        "too_many_labels": "{count} labels are asked for; this page takes {limit}.",
        "too_long": "This text has {count} letters; this page takes {limit}.",
        "lessons": "What am I looking at?",
        "lesson_once": "Looked at once",
        "lesson_once_text": "The picture tower turns a picture into a few hundred numbers, a "
        "direction in space. That is the slow part, and it never has to be done again: words are "
        "put into the same space, and the nearest pictures are found by one product.",
        "lesson_search": "Plus and minus",
        "lesson_search_text": "What you want pulls, what you don’t want pushes. “Beach” without "
        "“people” moves the question away from people; it is a direction, not a filter, so a "
        "crowded beach may still turn up further down.",
        "lesson_uncertain": "Uncertain first",
        "lesson_uncertain_text": "The smaller the lead of the best label, the more your answer is "
        "worth. Begin there and stop when you see mistakes no more. But a model can also be sure "
        "and wrong: look at some of the sure ones too.",
        "lesson_kept": "What is kept",
        "lesson_kept_text": "Nothing leaves this machine. The index holds numbers, names and sizes "
        "of files, no pictures; a file that changes is looked at anew, one that moves is "
        "recognised. Your corrections last as long as this page is open: download the table.",
    },
    "ko": {
        **COMMON["ko"],
        "title": "사진",
        "tagline": "폴더 속 그림을 한 번씩만 훑어보고, 그다음에는 어떤 말로든 찾고 나눌 수 있어요.",
        "knows_shapes": "이 작은 모델은 도형 그림만 보았어요. 여덟 가지 색과 여덟 가지 모양을 "
        "영어와 한국어로 배웠고, 사진은 전혀 몰라요.",
        "for_photos": "사진을 보려면 {photos}, 한국어까지 쓰려면 {korean}처럼 공개된 모델을 골라 "
        "시작하세요.",
        "knows_things": KNOWS_THINGS["ko"],
        "for_work": "실제로 쓰려면 {photos}, 한국어까지 쓰려면 {korean}처럼 공개된 모델을 골라 "
        "시작하세요.",
        "start": "내 폴더를 보려면 mmfm을 시작할 때 폴더를 알려 주세요: {command}",
        "only_allowed": "이 페이지는 --allow로 알려 준 폴더만 읽어요. 폴더 밖으로 나가는 링크는 "
        "따라가지 않아요.",
        "folder": "폴더",
        "examples_place": "예제",
        "examples_note": "바로 찾아볼 수 있도록 mmfm이 직접 그린 그림이에요.",
        "examples_one": "도형 하나",
        "examples_two": "도형 둘",
        "examples_note_photographs": "바로 찾아볼 수 있도록 scikit-image에 든 사진을 그대로, 또 "
        "일부만 잘라서 두었어요.",
        "examples_whole": "사진 전체",
        "examples_parts": "사진의 일부",
        "folders": "이 안의 폴더",
        "more_folders": "그 밖에 {count}개",
        "looking": "폴더를 살펴보고 있어요…",
        "no_pictures": "이 안에는 그림이 없어요.",
        "indexed": "{total}장 가운데 {done}장을 색인했어요",
        "all_indexed": "그림 {total}장을 모두 색인했어요.",
        "rest_unreadable": "{total}장 가운데 {done}장을 색인했어요. 나머지는 읽을 수 없어요.",
        "all_unreadable": "이 안의 그림은 하나도 읽을 수 없어요.",
        "index": "{count}장 색인하기",
        "go_on": "남은 {count}장 이어서 하기",
        "index_one": "1장 색인하기",
        "again": "바뀐 것 찾기",
        "stop": "멈추기",
        "starting": "준비하고 있어요…",
        "stopping": "지금 보던 그림까지만 하고 멈출게요…",
        "stopped": "멈췄어요. 색인한 것은 그대로 남아 있어요.",
        "speed": "1초에 {speed}장",
        "left": "{time} 남음",
        "hours": "{hours}시간 {minutes}분",
        "minutes": "{minutes}분 {seconds}초",
        "seconds": "{seconds}초",
        "index_note": "색인은 그림마다 한 번씩 숫자 목록을 만드는 일이에요. 목록은 내 보관소에 "
        "남아서 mmfm search도 함께 써요. 그림 파일은 그대로예요.",
        "index_note_examples": "색인은 그림마다 한 번씩 숫자 목록을 만드는 일이에요. 예제의 목록은 "
        "mmfm을 끝내면 지워져요.",
        "unreadable_one": "읽지 못한 파일이 1개 있어요",
        "unreadable_many": "읽지 못한 파일이 {count}개 있어요",
        "unreadable_more": "그 밖에 {count}개",
        "ways": "찾기와 나누기",
        "way_search": "찾기",
        "way_sort": "라벨로 나누기",
        "first_index": "먼저 그림을 색인하세요.",
        "text": "무엇이 보이나요?",
        "text_hint": "해 질 녘 바닷가",
        "minus": "빼고 싶은 것",
        "minus_hint": "사람",
        "search": "찾기",
        "like": "이 그림처럼",
        "like_away": "이 그림은 빼고 찾기",
        "found": "{count}장 가운데 {shown}장, 가까운 것부터",
        "found_note": "숫자는 그림이 물음에 얼마나 가까운지를 나타내는 코사인이에요. 한 번 찾은 "
        "결과 안에서만 견주세요.",
        "labels": "라벨",
        "labels_hint": "라벨은 쉼표로 나눠요. = 앞은 화면에 보이는 이름, = 뒤는 모델이 읽는 "
        "말이에요. 비슷한 말은 |로 나눠요: 강아지=puppy|dog",
        "none": "‘해당 없음’도 답이 될 수 있어요",
        "multi": "라벨마다 따로 (여럿이 맞을 수 있어요)",
        "sort": "나누기",
        "show": "보기",
        "every": "모두",
        "nothing": "해당 없음",
        "no_label": "라벨 없음",
        "corrected": "확인함",
        "order": "순서",
        "order_uncertain": "불확실한 것부터",
        "order_sure": "확실한 것부터",
        "order_folder": "폴더 순서대로",
        "answers_note": "답이 맞으면 ✓를, 틀리면 맞는 라벨을 누르세요. 이번 방문 동안 기억하고 "
        "표에도 담아 드려요.",
        "right": "{label}: 맞아요",
        "or": "{label}일까요?",
        "or_none": "해당 없음일까요?",
        "is_right": "맞는 답: {label}",
        "says": "모델의 답: {label}",
        "take_back": "되돌리기",
        "checked": "{checked}장 확인, 그 가운데 {changed}장 고침",
        "export": "표 내려받기 (CSV)",
        "kind_among_labels": "점수는 이 라벨들 사이의 확률이에요. 맞는 라벨이 하나도 없어도 합은 "
        "언제나 100%예요.",
        "kind_among_labels_none": "점수는 이 라벨들과 ‘해당 없음’ 사이의 확률이에요. ‘해당 없음’은 "
        "일반적인 글과 견준 값이라 그 자체로는 아직 확률이 아니에요.",
        "kind_each_label": "라벨마다 따로 매긴 확률이에요. 이 모델은 그렇게 답하도록 학습했어요.",
        "kind_each_label_uncalibrated": "라벨 하나하나를 일반적인 글과 견준 값이에요. 순서는 알 수 "
        "있지만 아직 확률은 아니에요.",
        "made_by": "답한 모델: {weights}, {device}에서 {numbers}로. 그림을 색인한 엔진: {engines}.",
        "show_more": "{count}장 더 보기",
        "shown_most": "한 번에 {most}장까지만 보여 드려요. 범위를 좁혀 보세요.",
        "open": "{name} 크게 보기",
        "more_like": "비슷한 그림 찾기",
        "previous": "이전",
        "next": "다음",
        "close": "닫기",
        "place_of": "{count}장 가운데 {number}번째",
        "score": "점수",
        "cosine": "코사인 {cosine}",
        "reasons": "the file is empty=빈 파일이에요|"
        "not a picture, or one cut short=그림이 아니거나 뒷부분이 잘렸어요|"
        "not a picture=읽을 수 있는 그림 형식이 아니에요|"
        "damaged=손상되었거나 뒷부분이 잘렸어요|cut short=뒷부분이 잘렸어요|"
        "a camera's raw file=카메라의 RAW 파일이에요. JPEG로 내보내 주세요|"
        "pixels are over the limit=픽셀이 너무 많아요|more pixels=픽셀이 너무 많아요|"
        "the file is over the limit=파일이 너무 커요|"
        "the picture does not fit=메모리에 담기에는 너무 커요|"
        "a link that leads nowhere=이어지는 곳이 없는 링크예요|"
        "a loop of links=서로 맴도는 링크예요|Too many levels=서로 맴도는 링크예요|"
        "a link to a folder that it lies in=자기가 들어 있는 폴더로 이어지는 링크예요|"
        "leads to where nothing may be read=허락되지 않은 곳으로 이어져요|"
        "this is a pipe=파일이 아니라 통로나 장치예요|this is a folder=그림이 아니라 폴더예요|"
        "this folder cannot be listed=폴더 안을 볼 수 없어요|Permission denied=읽을 권한이 없어요|"
        "No such file=파일이 이제 없어요",
        "gone": "이제 읽을 수 없는 그림이에요.",
        "which": "맞는 답은 무엇인가요?",
        "which_several": "맞는 라벨을 모두 고르세요",
        "keys": "숫자 키 1~9로 답을 고르고, 화살표 키로 다음 그림을 보고, Esc 키로 닫아요.",
        "splinters": "이 모델은 한국어를 읽지 못해요. 낱말이 글자 조각으로 부서져서 답에 의미가 "
        "없어요. 영어로 쓰거나 --model {model}로 시작하세요.",
        "unread": "{text}: 이 모델이 읽을 수 있는 길이를 넘어서 끝이 잘렸어요.",
        "in_use": "지금 다른 프로그램이 같은 보관소에 색인하고 있어요. 끝난 다음에 이어서 하세요.",
        "other_visitor": "다른 사람이 다른 폴더를 색인하고 있어요. 끝날 때까지 기다려 주세요.",
        "no_space": "디스크가 가득 찼어요. 색인한 것은 그대로 남아 있어요.",
        "no_folder": "폴더가 이제 없거나 다른 곳으로 이어져요.",
        "no_picture": "이 그림은 이제 페이지에 없어요.",
        "no_model": "이 페이지에 없는 모델이에요: {name}",
        "no_such_label": "그런 이름의 라벨이 없어요.",
        "no_words": "무엇을 찾을지 쓰거나, 시작할 그림을 고르세요.",
        "no_answers": "먼저 그림을 나누어 보세요.",
        "too_many_labels": "라벨이 {count}개예요. 이 페이지에서는 {limit}개까지 쓸 수 있어요.",
        "too_long": "글이 {count}자예요. 이 페이지에서는 {limit}자까지 쓸 수 있어요.",
        "lessons": "지금 무엇을 보고 있나요?",
        "lesson_once": "한 번만 봐요",
        "lesson_once_text": "그림 탑은 그림 한 장을 수백 개의 숫자, 곧 공간 속의 방향으로 바꿔요. "
        "오래 걸리는 일은 이것뿐이고 다시 할 필요가 없어요. 글도 같은 공간에 놓이니까, 가장 가까운 "
        "그림은 곱셈 한 번으로 찾아요.",
        "lesson_search": "더하기와 빼기",
        "lesson_search_text": "원하는 것은 끌어당기고, 원하지 않는 것은 밀어내요. ‘바닷가’에서 "
        "‘사람’을 빼면 물음이 사람에게서 멀어져요. 거르는 것이 아니라 방향을 바꾸는 것이라서, "
        "붐비는 바닷가도 뒤쪽에는 나올 수 있어요.",
        "lesson_uncertain": "불확실한 것부터",
        "lesson_uncertain_text": "가장 높은 라벨이 조금만 앞설수록 사람의 답이 값져요. 거기서부터 "
        "시작해서 틀린 답이 보이지 않으면 멈추세요. 하지만 모델은 확신하면서도 틀릴 수 있으니 "
        "확실한 것도 몇 장 살펴보세요.",
        "lesson_kept": "무엇이 남나요?",
        "lesson_kept_text": "아무것도 이 컴퓨터 밖으로 나가지 않아요. 색인에는 숫자와 파일 이름, "
        "크기만 있고 그림은 없어요. 파일이 바뀌면 다시 보고, 옮기면 알아봐요. 고친 답은 이 "
        "페이지를 열어 둔 동안만 남으니 표를 내려받으세요.",
    },
}
